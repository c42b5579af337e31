// Shows the facts that Inspect ControlNet finds inside the node, also after a page is opened anew.
import { app } from "../../../scripts/app.js";

app.registerExtension({
  name: "controlstack.inspect",
  nodeCreated(node) {
    if (node.comfyClass !== "ControlStackInspect") return;
    const text = document.createElement("pre");
    text.style.cssText =
      "margin:0;padding:6px;overflow:auto;white-space:pre-wrap;font-size:11px;" +
      "color:var(--input-text);background:var(--comfy-input-bg);user-select:text";
    text.textContent = "run the graph to see what this ControlNet is";
    const widget = node.addDOMWidget("facts", "controlstack_facts", text, {
      getMinHeight: () => 130,
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
