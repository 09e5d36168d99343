// Validates JSON files against a definition of a JSON Schema of 2020-12 with ajv, in its
// strict mode.
//
//	node schema.js SCHEMA DEFINITION FILE...
//
// DEFINITION is the name of one in $defs, or "" for the schema itself. Keys that it does not
// name are faults: each key that is written is to be documented.
"use strict";
const fs = require("fs");
const Ajv = require("ajv/dist/2020");
const [schema, ...files] = [process.argv[2], ...process.argv.slice(4)].map((f) => JSON.parse(fs.readFileSync(f, "utf8")));
const close = (rule) => {
	if (rule && typeof rule === "object") {
		if (rule.type === "object" && rule.properties && rule.additionalProperties === undefined) {
			rule.additionalProperties = false;
		}
		Object.values(rule).forEach(close);
	}
};
close(schema);
const ajv = new Ajv({ strict: true, allowUnionTypes: true, allErrors: true });
ajv.addSchema(schema);
const validate = ajv.getSchema(schema.$id + (process.argv[3] ? "#/$defs/" + process.argv[3] : ""));
for (const f of files) {
	if (!validate(f)) {
		console.error(JSON.stringify(validate.errors, null, 1));
		process.exitCode = 1;
	}
}
