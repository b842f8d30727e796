// The one file that a page loads, as a module: `<script type="module" src="https://gateway/widget.js"></script>`.

import { BackspanFeedback } from "./element.js";
import { observeAnswer } from "./signals.js";

if (!customElements.get("backspan-feedback")) customElements.define("backspan-feedback", BackspanFeedback);

export { BackspanFeedback, observeAnswer };
