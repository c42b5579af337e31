"""Networks of learned preprocessors that no well-kept library has, one a file."""
