import { render } from "solid-js/web";
import { start } from "./city/session";
import { Shell } from "./shell";
import "./style/theme.css";
import "./style/page.css";

void start();
render(() => <Shell />, document.getElementById("page")!);
