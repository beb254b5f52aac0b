/** The main job through the client that hey-api makes, and the helpers beside it.
 *
 * ADDRESS TOKEN WORKSPACE DATASET_URL TENSORFLOW SCRIPT
 */
import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import { createHash } from "node:crypto";

import { followLog } from "../helpers/streams";
import { uploadBlob } from "../helpers/uploads";
import * as api from "../typescript";
import { client } from "../typescript/client.gen";

const [address, token, workspace, datasetUrl, tensorflow, script] = process.argv.slice(2);
client.setConfig({ baseUrl: address, auth: token, throwOnError: true });
const connection = { address, token };

async function settled<T>(read: () => Promise<T>, state: (found: T) => string, wanted: string) {
  for (let left = 1500; left > 0; left--) {
    const found = await read();
    if (state(found) === wanted) return found;
    assert.ok(!["Failed", "Canceled"].includes(state(found)), JSON.stringify(found));
    await new Promise((done) => setTimeout(done, 300));
  }
  throw new Error(`it did not become ${wanted}`);
}

async function main(): Promise<void> {
  const missing = await api.getWorkspace({ path: { workspace: "nowhere" }, throwOnError: false });
  assert.equal(missing.error?.status, 404);

  await api.putWorkspace({ path: { workspace }, throwOnError: true });
  const dataset = await api.registerDataset({
    path: { workspace },
    body: { name: "digits", urls: [datasetUrl] },
    throwOnError: true,
  });
  assert.equal(dataset.data.version, 1);
  await api.putCluster({
    path: { workspace, cluster: "cpu" },
    body: { vm_size: "MEDIUM" },
    throwOnError: true,
  });
  const source = readFileSync(script);
  const sha256 = await uploadBlob(connection, workspace, new Blob([source]));
  assert.equal(sha256, createHash("sha256").update(source).digest("hex"));
  const snapshot = await api.createSnapshot({
    path: { workspace },
    body: { files: [{ path: "train.py", sha256, size_bytes: source.length }] },
    throwOnError: true,
  });
  const run = await api.createRun({
    path: { workspace },
    headers: { "Idempotency-Key": "walk-typescript" },
    body: {
      experiment_name: "walk",
      snapshot_id: snapshot.data.id,
      cluster_name: "cpu",
      entry_script: "train.py",
      arguments: [{ dataset: "digits" }],
      // As in the README, whose environment is there already.
      environment: {
        framework: "tensorflow",
        framework_version: tensorflow,
        pip_packages: ["pandas"],
      },
    },
    throwOnError: true,
  });
  const path = { workspace, run_id: run.data.id };
  const lines: string[] = [];
  for await (const line of followLog(connection, `/v1/workspaces/${workspace}/runs/${run.data.id}/logs`)) {
    lines.push(line.text);
  }
  assert.ok(lines.some((line) => line.startsWith("files 1")), lines.join("\n"));
  const read = async () => (await api.getRun({ path, throwOnError: true })).data;
  await settled(read, (found) => found.status, "Completed");

  const metrics = await api.listRunMetrics({ path, throwOnError: true });
  assert.deepEqual(metrics.data.items.map((metric) => metric.name), ["accuracy"]);
  const files = await api.listRunFiles({ path, query: { prefix: "outputs/" }, throwOnError: true });
  assert.ok(files.data.items.some((file) => file.path === "outputs/model/saved_model.pb"));

  const version = await api.createModelVersion({
    path: { workspace, model: "doubler" },
    body: {
      run_id: run.data.id,
      path: "outputs/model",
      framework: "tensorflow",
      framework_version: tensorflow,
    },
    throwOnError: true,
  });
  assert.equal(version.data.version, 1);
  const target = { workspace, deployment: "doubler" };
  await api.putDeployment({ path: target, body: { model_name: "doubler" }, throwOnError: true });
  const readTarget = async () => (await api.getDeployment({ path: target, throwOnError: true })).data;
  await settled(readTarget, (found) => found.state, "Healthy");
  const scored = await api.scoreDeployment({
    path: target,
    body: { instances: [[1, 2]] },
    throwOnError: true,
  });
  assert.deepEqual(scored.data, { predictions: [[2, 4]] });
  await api.deleteDeployment({ path: target, throwOnError: true });
  console.log("walked");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
