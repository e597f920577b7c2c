// Bundles the libraries into one classic script and writes the licences of what is in it: `make web`.

import { build } from "esbuild";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const assets = join(here, "..", "lynxbench", "leaderboard", "assets");

const { metafile } = await build({
  absWorkingDir: here,
  entryPoints: ["libraries.js"],
  outfile: join(assets, "libraries.js"),
  bundle: true,
  format: "iife", // modules do not load from file://
  globalName: "libraries",
  legalComments: "none", // NOTICE has them whole
  metafile: true,
  minify: true,
  target: "es2022",
  banner: { js: "/* Observable Plot, d3, hyparquet and what they use; licences in NOTICE; made by `make web` */" },
});

const used = new Set();
for (const [input, { bytesInOutput }] of Object.entries(Object.values(metafile.outputs)[0].inputs)) {
  const inside = input.match(/^node_modules\/((?:@[^/]+\/)?[^/]+)\//);
  if (inside && bytesInOutput > 0) used.add(inside[1]);
}
const notices = [...used].sort().map((name) => {
  const folder = join(here, "node_modules", name);
  const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  if (!file) throw new Error(`${name} comes without a licence`);
  return `${name} ${version} (${license})\n\n${readFileSync(join(folder, file), "utf8").trim()}\n`;
});
writeFileSync(
  join(assets, "NOTICE"),
  `libraries.js is a bundle of the packages below, made by \`make web\` from web/package-lock.json.\n\n` +
    notices.join(`\n${"-".repeat(79)}\n\n`),
);
