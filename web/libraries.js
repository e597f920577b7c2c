// What the pages use of other people's work; everything else is left out of the bundle.
export { axisX, axisY, dot, gridX, gridY, line, plot, pointer, rect, rectY, ruleX, ruleY, text, tip } from "@observablehq/plot";
export { symbol, symbolCircle, symbolDiamond, symbolSquare, symbolStar, symbolTriangle } from "d3";
export { parquetReadObjects } from "hyparquet";
