// The npm client on a tour of the agent.
//
//   node client.js HOST PORT SERVER_ADDRESS CHECKED_IP CHECKED_PORT CHECKED_URL
//   node client.js HOST PORT       keys, sessions, locks and semaphores only
//
// Ends with 0 if the client got from every call what it should. Another program registers the
// instances w1 and w2 of the service "woken" when it sees that this one waits for them.
const assert = require("node:assert/strict");
const Consul = require("consul");

const [host, port, server, checkedIp, checkedPort, checkedUrl] = process.argv.slice(2);
const DEADLINE_MS = 30000;
const consul = new Consul({ host, port });

// Resolves with the first result of the client's own watch that is as hoped for.
function watched(method, options, hoped) {
  return new Promise((resolve, reject) => {
    const watch = consul.watch({ method, options: { wait: "60s", ...options }, backoffFactor: 10 });
    const timer = setTimeout(() => {
      watch.end();
      reject(new Error(`not in time: ${JSON.stringify(options)}`));
    }, DEADLINE_MS);
    const finish = (settle, value) => {
      clearTimeout(timer);
      watch.end();
      settle(value);
    };
    watch.on("change", (data) => hoped(data) && finish(resolve, data));
    watch.on("error", (error) => finish(reject, error));
  });
}

// Does it soon, again until it succeeds: a leader may die while it has the request.
function later(change) {
  setTimeout(() => change().catch(() => later(change)), 100);
}

async function statusAndSelf() {
  assert.equal(await consul.status.leader(), server);
  assert.deepEqual(await consul.status.peers(), [server]);
  const self = await consul.agent.self();
  assert.equal(self.Config.NodeName, "n1");
  assert.equal(self.Member.Name, "n1");
  assert.deepEqual(await consul.catalog.datacenters(), ["dc1"]);
}

async function ttlService() {
  const checkId = "service:db-1";
  await consul.agent.service.register({
    id: "db-1",
    name: "db",
    address: "192.0.2.9",
    port: 5432,
    tags: ["v1", "primary"],
    meta: { zone: "a" },
    check: { ttl: "60s", deregistercriticalserviceafter: "1h" },
  });
  assert.equal((await consul.agent.services())["db-1"].Port, 5432);
  assert.equal((await consul.agent.checks())[checkId].Status, "critical");
  const steps = { pass: "passing", fail: "critical", warn: "warning" };
  for (const call of ["pass", "fail", "warn", "pass"]) {
    await consul.agent.check[call]({ id: checkId, note: `note ${call}` });
    const [check] = await consul.health.checks("db");
    assert.deepEqual([check.Status, check.Output], [steps[call], `note ${call}`]);
    const rows = await consul.health.service({ service: "db", passing: true });
    assert.equal(rows.length, call === "pass" ? 1 : 0);
    const state = await consul.health.state(steps[call]);
    assert.ok(state.some((row) => row.CheckID === checkId));
  }
  assert.deepEqual((await consul.catalog.service.list()).db.sort(), ["primary", "v1"]);
  const [row] = await consul.catalog.service.nodes({ service: "db", tag: "primary" });
  assert.deepEqual(
    [row.Node, row.ServiceAddress, row.ServicePort, row.ServiceMeta.zone],
    ["n1", "192.0.2.9", 5432, "a"],
  );
  assert.deepEqual(await consul.catalog.service.nodes({ service: "db", tag: "v2" }), []);
  assert.deepEqual((await consul.catalog.node.list()).map((node) => node.Node), ["n1"]);
  assert.equal((await consul.catalog.node.services("n1")).Services["db-1"].Port, 5432);
  const node = await consul.health.node("n1");
  assert.deepEqual(node.map((check) => check.CheckID).sort(), ["serfHealth", checkId]);
  assert.deepEqual(await consul.catalog.connect.nodes("db"), []); // no mesh, and no error
  await consul.agent.service.deregister("db-1");
  assert.deepEqual(await consul.agent.services(), {});
  assert.deepEqual(await consul.catalog.service.list(), { consul: [] });
}

async function httpCheck() {
  await consul.agent.service.register({
    name: "web",
    address: checkedIp,
    port: Number(checkedPort),
    check: { http: checkedUrl, interval: "1s", timeout: "2s" },
  });
  await watched(
    consul.health.service,
    { service: "web", passing: true },
    (rows) => rows.length === 1,
  );
  await consul.agent.check.register({ id: "disk", name: "disk", ttl: "60s", notes: "of n1" });
  await consul.agent.check.pass("disk");
  assert.equal((await consul.agent.checks()).disk.Status, "passing");
  await consul.agent.check.deregister("disk");
  await consul.agent.service.deregister("web");
}

async function keys() {
  assert.equal(await consul.kv.set("npm/a", "one"), true);
  const entry = await consul.kv.get("npm/a");
  assert.equal(entry.Value, "one");
  assert.equal(await consul.kv.get("npm/none"), undefined);
  assert.ok(!(await consul.kv.set({ key: "npm/a", value: "two", cas: "1" })));
  assert.equal(await consul.kv.set({ key: "npm/a", value: "two", cas: entry.ModifyIndex }), true);
  assert.equal(await consul.kv.set("npm/b/c d", ""), true);
  assert.deepEqual(await consul.kv.keys({ key: "npm/", separator: "/" }), ["npm/a", "npm/b/"]);
  const all = await consul.kv.get({ key: "npm/", recurse: true });
  assert.deepEqual(all.map((row) => row.Key), ["npm/a", "npm/b/c d"]);
  later(() => consul.kv.set("npm/woken", "yes"));
  const seen = await watched(consul.kv.get, { key: "npm/woken" }, (row) => row !== undefined);
  assert.equal(seen.Value, "yes");
  const results = await consul.transaction.create([
    { KV: { Verb: "set", Key: "npm/t", Value: Buffer.from("x").toString("base64") } },
    { KV: { Verb: "get", Key: "npm/t" } },
  ]);
  assert.equal(results.Results[1].KV.Value, Buffer.from("x").toString("base64"));
  await consul.kv.del({ key: "npm/", recurse: true });
  assert.equal(await consul.kv.get({ key: "npm/", recurse: true }), undefined);
}

async function sessionsAndLocks() {
  const { ID: id } = await consul.session.create({ name: "tour", ttl: "10s", lockdelay: "1ms" });
  const { ID: other } = await consul.session.create({ behavior: "delete" });
  assert.equal((await consul.session.get(id)).Name, "tour");
  assert.equal((await consul.session.renew(id))[0].ID, id);
  const { NodeName: node } = (await consul.agent.self()).Config;
  assert.equal((await consul.session.node(node)).length, (await consul.session.list()).length);
  assert.equal(await consul.kv.set({ key: "npm/lock", value: "", acquire: id }), true);
  assert.ok(!(await consul.kv.set({ key: "npm/lock", value: "", acquire: other })));
  later(() => consul.session.destroy(id));
  await watched(consul.kv.get, { key: "npm/lock" }, (row) => row.Session === undefined);
  await consul.session.destroy(other);
  await consul.kv.del("npm/lock");
}

// The recipe of clients: who is in is a list that contenders change by check-and-set.
async function semaphore() {
  const prefix = "npm/sem/";
  const flags = "16210313421097356768";
  const sessions = [];
  for (let i = 0; i < 3; i++) {
    const { ID: id } = await consul.session.create({ behavior: "delete", ttl: "10s" });
    assert.equal(
      await consul.kv.set({ key: prefix + id, value: "", acquire: id, flags }), true);
    sessions.push(id);
  }
  const changed = async (change) => {
    for (;;) {
      const rows = await consul.kv.get({ key: prefix, recurse: true });
      const places = rows.find((row) => row.Key === `${prefix}.lock`);
      const holders = places ? JSON.parse(places.Value).Holders : {};
      for (const id of Object.keys(holders)) {
        if (!rows.some((row) => row.Session === id)) delete holders[id];
      }
      if (!change(holders)) return false;
      const value = JSON.stringify({ Limit: 2, Holders: holders });
      const cas = String(places ? places.ModifyIndex : 0);
      if (await consul.kv.set({ key: `${prefix}.lock`, value, cas, flags })) return true;
    }
  };
  const enter = (id) => (holders) => Object.keys(holders).length < 2 && (holders[id] = true);
  assert.equal(await changed(enter(sessions[0])), true);
  assert.equal(await changed(enter(sessions[1])), true);
  assert.equal(await changed(enter(sessions[2])), false);
  later(() => consul.session.destroy(sessions[0]));
  await watched(consul.kv.get, { key: prefix, recurse: true }, (rows) => rows.length === 3);
  assert.equal(await changed(enter(sessions[2])), true);
  await consul.session.destroy(sessions[1]);
  await consul.session.destroy(sessions[2]);
  const left = await consul.kv.get({ key: prefix, recurse: true });
  assert.deepEqual(left.map((row) => row.Key), [`${prefix}.lock`]);
  await consul.kv.del({ key: prefix, recurse: true });
}

async function woken() {
  await watched(consul.catalog.service.nodes, { service: "woken" }, (rows) => rows.length === 1);
  const rows = await watched(
    consul.health.service,
    { service: "woken", passing: true },
    (found) => found.length === 2,
  );
  assert.deepEqual(rows.map((row) => row.Service.ID), ["w1", "w2"]);
}

async function options() {
  const all = [
    { stale: true },
    { consistent: true },
    { dc: "dc1" },
    { near: "_agent" },
    { filter: 'Node == "n1"' },
  ];
  for (const how of all) {
    assert.equal((await consul.catalog.node.list(how))[0].Node, "n1");
  }
  await assert.rejects(consul.catalog.node.list("elsewhere"), /No path to datacenter/);
  await assert.rejects(consul.agent.check.pass("nothing"), /not found/i);
}

async function main() {
  if (server === undefined) {
    await keys();
    await sessionsAndLocks();
    await semaphore();
    return;
  }
  await statusAndSelf();
  await ttlService();
  await httpCheck();
  await options();
  await keys();
  await sessionsAndLocks();
  await semaphore();
  await woken();
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
