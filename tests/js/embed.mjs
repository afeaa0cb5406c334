// Embeds the texts of stdin (a JSON array) with an exported directory, through
// transformers.js: MODEL is the directory, DTYPE the graph's dtype, TRANSFORMERS_JS the installed package.
import path from 'node:path';
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const home = process.env.TRANSFORMERS_JS;
const { exports } = JSON.parse(readFileSync(path.join(home, 'package.json'), 'utf8'));
const entry = exports.node.import.default;
const { pipeline, env } = await import(pathToFileURL(path.join(home, entry)));

env.allowRemoteModels = false;
env.localModelPath = path.dirname(process.env.MODEL);
const extractor = await pipeline('feature-extraction', path.basename(process.env.MODEL), { dtype: process.env.DTYPE });
const embeddings = [];
for (const text of JSON.parse(readFileSync(0, 'utf8'))) {
  embeddings.push((await extractor(text, { pooling: 'mean', normalize: true })).tolist()[0]);
}
console.log(JSON.stringify({ embeddings }));
