// The switch that lets preprocessors fetch missing weights from the Hugging Face hub.
import { app } from "../../../scripts/app.js";

app.registerExtension({
  name: "controlstack.downloads",
  settings: [
    {
      id: "ControlStack.Downloads",
      category: ["ControlStack", "Weights", "Downloads"],
      name: "Download missing weights of preprocessors",
      tooltip:
        "When a preprocessor lacks its weights, fetch them from the Hugging Face hub. " +
        "Off: it says which file is missing and how to get it.",
      type: "boolean",
      defaultValue: false,
    },
  ],
});
