// Write backstage_schemas.json anew: `npm pack @backstage/catalog-model`, unpack it, and run this with its folder.
import { createRequire } from "node:module";
import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

const require = createRequire(import.meta.url);
const folder = resolve(process.argv[2]);
const { version } = require(join(folder, "package.json"));
const names = ["Entity", "EntityEnvelope", "EntityMeta", "shared/common"];
names.push(...["Component", "System", "Resource", "API"].map((kind) => `kinds/${kind}.v1alpha1`));
const schemas = {
  $comment:
    `JSON Schemas of the npm package @backstage/catalog-model ${version}, without their examples and descriptions. ` +
    "Copyright The Backstage Authors, Apache-2.0: https://github.com/backstage/backstage. " +
    "Written by tests/support/backstage.mjs",
};

function bare(node) {
  if (Array.isArray(node)) return node.map(bare);
  if (!node || typeof node !== "object") return node;
  const kept = Object.entries(node).filter(
    ([name, value]) => !["examples", "description"].includes(name) || (typeof value === "object" && !Array.isArray(value)),
  );
  return Object.fromEntries(kept.map(([name, value]) => [name, bare(value)]));
}

for (const name of names) {
  const module = require(join(folder, "dist", "schema", `${name}.schema.json.cjs.js`));
  const schema = bare(JSON.parse(JSON.stringify(module.default ?? module)));
  schemas[schema.$id] = schema;
}
writeFileSync(join(import.meta.dirname, "backstage_schemas.json"), `${JSON.stringify(schemas, null, 1)}\n`);
