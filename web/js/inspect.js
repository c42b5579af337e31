// Shows what a node found as text inside the node, also after a page is opened anew.
import { app } from "../../../scripts/app.js";

// What each node says before its first run, and the least height of its text in pixels.
const SHOWN = {
  ControlStackInspect: ["run the graph to see what this ControlNet is", 130],
  ControlStackAdherence: ["run the graph to see the score", 30],
};

app.registerExtension({
  name: "controlstack.inspect",
  nodeCreated(node) {
    if (!(node.comfyClass in SHOWN)) return;
    const [untold, height] = SHOWN[node.comfyClass];
    const text = document.createElement("pre");
    text.style.cssText =
      "margin:0;padding:6px;overflow:auto;white-space:pre-wrap;font-size:11px;" +
      "color:var(--input-text);background:var(--comfy-input-bg);user-select:text";
    text.textContent = untold;
    const widget = node.addDOMWidget("facts", "controlstack_facts", text, {
      getMinHeight: () => height,
      getValue: () => text.textContent,
      setValue: (value) => {
        if (typeof value === "string") text.textContent = value;
      },
      serialize: false, // not part of the prompt
    });
    widget.serialize = false; // nor of the saved workflow
    const before = node.onExecuted;
    node.onExecuted = function (output) {
      before?.apply(this, arguments);
      if (output?.text) widget.value = output.text.join("\n");
    };
  },
});
