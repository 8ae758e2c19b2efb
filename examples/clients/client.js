// A client in JavaScript, made from the protos when it starts; it knows nothing else of longshore.
//
//     npm install @grpc/grpc-js @grpc/proto-loader
//     node client.js ../../protos 127.0.0.1:7070 127.0.0.1:7074

"use strict";

const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");
const timers = require("node:timers/promises");
const util = require("node:util");

const NAME = "client-node";
const CHILDREN = 3;
const CALL_SECONDS = 30;
const WAIT_SECONDS = 90;

const [protos, submissionAddress, logsAddress] = process.argv.slice(2);

// `longs: Number`: times are milliseconds, which a number holds. `arrays`: lists are there when they are empty. `defaults`
// stays unset, so that any other member that is absent is undefined and not 0 or "".
const loaded = loader.loadSync(
  ["submission_service", "log_service", "error"].map((name) => `longshore/v1/${name}.proto`),
  { includeDirs: [protos], longs: Number, arrays: true },
);
const { SubmissionService, LogService } = grpc.loadPackageDefinition(loaded).longshore.v1;
const submission = new SubmissionService(submissionAddress, grpc.credentials.createInsecure());
const logs = new LogService(logsAddress, grpc.credentials.createInsecure());

// Who calls, in the metadata of every call. A longshore that is open takes calls without.
const who = new grpc.Metadata();
const { LONGSHORE_ACCESS_KEY_ID: id, LONGSHORE_SECRET_ACCESS_KEY: secret } = process.env;
if (id) who.set("authorization", `Bearer ${id}:${secret}`);

const deadline = () => ({ deadline: Date.now() + CALL_SECONDS * 1000 });

// Calls an operation and returns its answer, or throws a grpc.ServiceError.
function call(operation, request) {
  return util.promisify(submission[operation]).call(submission, request, who, deadline());
}

// Registers a definition and returns `name:revision`.
async function register() {
  const answer = await call("RegisterJobDefinition", {
    jobDefinitionName: NAME,
    type: "container",
    containerProperties: {
      image: "busybox:latest",
      command: ["sh", "-c", 'echo "child ${AWS_BATCH_JOB_ARRAY_INDEX:-none}"'],
      resourceRequirements: [
        { type: "VCPU", value: "1" },
        { type: "MEMORY", value: "64" },
      ],
    },
  });
  return `${answer.jobDefinitionName}:${answer.revision}`;
}

// Submits an array and a job that waits for all of it; returns their ids.
async function submit(jobDefinition) {
  const array = await call("SubmitJob", {
    jobName: `${NAME}-array`,
    jobQueue: "default",
    jobDefinition,
    arrayProperties: { size: CHILDREN },
  });
  const after = await call("SubmitJob", {
    jobName: `${NAME}-after`,
    jobQueue: "default",
    jobDefinition,
    dependsOn: [{ jobId: array.jobId }],
  });
  return [array.jobId, after.jobId];
}

// The job once it has ended.
async function wait(jobId) {
  const end = Date.now() + WAIT_SECONDS * 1000;
  while (Date.now() < end) {
    const [job] = (await call("DescribeJobs", { jobs: [jobId] })).jobs;
    if (job === undefined) throw new Error(`${jobId} is not there`);
    if (["SUCCEEDED", "FAILED"].includes(job.status)) return job;
    await timers.setTimeout(200);
  }
  throw new Error(`${jobId} did not end within ${WAIT_SECONDS} s`);
}

// The ids of an array's children that SUCCEEDED, two on a page.
async function* pages(arrayJobId) {
  let nextToken;
  do {
    const answer = await call("ListJobs", {
      arrayJobId,
      jobStatus: "SUCCEEDED",
      maxResults: 2,
      nextToken,
    });
    yield answer.jobSummaryList.map((job) => job.jobId);
    nextToken = answer.nextToken;
  } while (nextToken);
}

// Why a call was refused, for programs: the reason and the member that is to blame.
function refusal(error) {
  const [details] = error.metadata.get("grpc-status-details-bin");
  if (details === undefined) return { reason: "", member: "" };
  const status = loaded["longshore.v1.ErrorStatus"];
  const info = status.deserialize(details).details[0].value;
  return { reason: info.reason, member: info.metadata?.member ?? "" };
}

async function main() {
  const definition = await register();
  console.log(`registered ${definition}`);
  const [arrayId, afterId] = await submit(definition);
  console.log(`array ${arrayId}, then ${afterId}`);
  console.log(`after ${(await wait(afterId)).status}`);
  console.log(`array ${(await wait(arrayId)).status}`);
  for await (const page of pages(arrayId)) console.log(`page of ${page.length}`);

  const child = await wait(`${arrayId}:2`);
  const request = { logStreamName: child.container.logStreamName, follow: true };
  for await (const answer of logs.TailLogs(request, who, deadline())) {
    for (const entry of answer.entries) console.log(`log ${entry.text.toString()}`);
  }

  try {
    await call("SubmitJob", { jobName: NAME, jobQueue: "nowhere", jobDefinition: definition });
  } catch (error) {
    const { reason, member } = refusal(error);
    console.log(`refused ${reason} ${member}: ${error.details}`);
  }
}

main()
  .catch((error) => {
    console.error(error);
    process.exitCode = 1;
  })
  .finally(() => {
    submission.close();
    logs.close();
  });
