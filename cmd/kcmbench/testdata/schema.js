// Validates JSON files against a JSON Schema of 2020-12 with ajv, in its strict mode.
//
//	node schema.js SCHEMA FILE...
"use strict";
const fs = require("fs");
const Ajv = require("ajv/dist/2020");
const [schema, ...files] = process.argv.slice(2).map((f) => JSON.parse(fs.readFileSync(f, "utf8")));
const validate = new Ajv({ strict: true, allowUnionTypes: true, allErrors: true }).compile(schema);
for (const f of files) {
	if (!validate(f)) {
		console.error(validate.errors);
		process.exitCode = 1;
	}
}
