// Reads a log of HdrHistogram with the project's JavaScript and prints, as JSON, for each
// tag the number of intervals and of times, percentiles, and the whole distribution as
// its own printer has it.
//
//	node hdrlog.js LOG
"use strict";
const fs = require("fs");
const hdr = require("hdr-histogram-js");

const reader = new hdr.HistogramLogReader(fs.readFileSync(process.argv[2], "utf8"));
const tags = {};
let begin = Infinity;
let end = 0;
for (let h = reader.nextIntervalHistogram(); h; h = reader.nextIntervalHistogram()) {
	const name = h.tag === "NO TAG" ? "latency" : h.tag;
	tags[name] = tags[name] || { intervals: 0, sum: hdr.build({
		bitBucketSize: 64, lowestDiscernibleValue: 1, highestTrackableValue: 60e9, numberOfSignificantValueDigits: 3,
	}) };
	tags[name].intervals++;
	tags[name].sum.add(h);
	begin = Math.min(begin, h.startTimeStampMsec);
	end = Math.max(end, h.endTimeStampMsec);
}
const out = { begin_ms: begin, end_ms: end, tags: {} };
for (const [name, { intervals, sum }] of Object.entries(tags)) {
	out.tags[name] = {
		intervals,
		count: sum.totalCount,
		percentiles: [0, 50, 90, 99, 99.9, 99.99, 100].map((p) => sum.getValueAtPercentile(p)),
		hgrm: sum.outputPercentileDistribution(5, 1000),
	};
}
console.log(JSON.stringify(out));
