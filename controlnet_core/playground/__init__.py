"""The whole chain without a host: photo, hints, weighted ControlNets, sampler, picture."""
