package main

// Keys, sessions, locks, semaphores and transactions as the official Go client uses them, against
// the agent at CAIRN_ADDRESS.

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

func connect(t *testing.T) *api.Client {
	address := os.Getenv("CAIRN_ADDRESS")
	if address == "" {
		t.Skip("CAIRN_ADDRESS is not set")
	}
	client, err := api.NewClient(&api.Config{Address: address})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func need(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, ok bool, what string) {
	t.Helper()
	if !ok {
		t.Fatal(what)
	}
}

func TestKVTour(t *testing.T) {
	kv := connect(t).KV()
	pair := &api.KVPair{Key: "go/kv/a", Value: []byte("one"), Flags: 1 << 63}
	_, err := kv.Put(pair, nil)
	need(t, err)
	got, meta, err := kv.Get("go/kv/a", nil)
	need(t, err)
	expect(t, bytes.Equal(got.Value, pair.Value) && got.Flags == pair.Flags, "value and flags")
	expect(t, meta.LastIndex == got.ModifyIndex && meta.KnownLeader, "meta")
	none, _, err := kv.Get("go/kv/none", nil)
	need(t, err)
	expect(t, none == nil, "an absent key is nil")
	ok, _, err := kv.CAS(&api.KVPair{Key: "go/kv/a", Value: []byte("two"), ModifyIndex: 1}, nil)
	need(t, err)
	expect(t, !ok, "a stale CAS fails")
	got.Value = []byte("two")
	ok, _, err = kv.CAS(got, nil)
	need(t, err)
	expect(t, ok, "CAS")
	for _, key := range []string{"go/kv/b/1", "go/kv/b/2"} {
		_, err = kv.Put(&api.KVPair{Key: key}, nil)
		need(t, err)
	}
	keys, _, err := kv.Keys("go/kv/", "/", nil)
	need(t, err)
	expect(t, len(keys) == 2 && keys[1] == "go/kv/b/", "keys")
	list, meta, err := kv.List("go/kv/", nil)
	need(t, err)
	expect(t, len(list) == 3, "list")
	go func() {
		time.Sleep(100 * time.Millisecond)
		for { // the leader may die while it has the request: then its outcome is not known
			if _, err := kv.DeleteTree("go/kv/b/", nil); err == nil {
				return
			}
		}
	}()
	list, after, err := kv.List("go/kv/", &api.QueryOptions{WaitIndex: meta.LastIndex})
	need(t, err)
	expect(t, len(list) == 1 && after.LastIndex > meta.LastIndex, "a deletion wakes the list")
	list, _, err = kv.List("go/kv/b/", nil)
	need(t, err)
	expect(t, len(list) == 0, "nothing is left")
	got, _, err = kv.Get("go/kv/a", nil)
	need(t, err)
	ok, _, err = kv.DeleteCAS(got, nil)
	need(t, err)
	expect(t, ok, "DeleteCAS")
}

func TestTxnTour(t *testing.T) {
	client := connect(t)
	session, _, err := client.Session().Create(&api.SessionEntry{LockDelay: time.Millisecond}, nil)
	need(t, err)
	ok, answer, _, err := client.KV().Txn(api.KVTxnOps{
		{Verb: api.KVLock, Key: "go/txn/lock", Session: session},
		{Verb: api.KVSet, Key: "go/txn/a", Value: []byte("x"), Flags: 1 << 63},
		{Verb: api.KVGet, Key: "go/txn/a"},
		{Verb: api.KVCheckSession, Key: "go/txn/lock", Session: session},
	}, nil)
	need(t, err)
	expect(t, ok && len(answer.Results) == 4, "transaction")
	expect(t, answer.Results[0].Session == session && answer.Results[0].LockIndex == 1, "lock")
	expect(t, string(answer.Results[2].Value) == "x" && answer.Results[2].Flags == 1<<63, "get")
	ok, answer, _, err = client.KV().Txn(api.KVTxnOps{
		{Verb: api.KVDelete, Key: "go/txn/a"},
		{Verb: api.KVCheckNotExists, Key: "go/txn/lock"},
	}, nil)
	need(t, err)
	expect(t, !ok && len(answer.Errors) == 1 && answer.Errors[0].OpIndex == 1, "refused whole")
	pair, _, err := client.KV().Get("go/txn/a", nil)
	need(t, err)
	expect(t, pair != nil, "nothing was deleted")
	ok, all, _, err := client.Txn().Txn(api.TxnOps{
		{Node: &api.NodeTxnOp{Verb: api.NodeSet, Node: api.Node{Node: "go-txn", Address: "192.0.2.8"}}},
		{Service: &api.ServiceTxnOp{Verb: api.ServiceSet, Node: "go-txn",
			Service: api.AgentService{Service: "go-svc", Port: 80}}},
		{Check: &api.CheckTxnOp{Verb: api.CheckSet, Check: api.HealthCheck{Node: "go-txn",
			CheckID: "go-check", Name: "go-check", ServiceID: "go-svc", Status: "passing",
			Definition: api.HealthCheckDefinition{TCP: "127.0.0.1:1",
				IntervalDuration: 5 * time.Second, TimeoutDuration: time.Second}}}},
	}, nil)
	need(t, err)
	expect(t, ok && len(all.Results) == 3, "catalog transaction")
	check := all.Results[2].Check
	expect(t, check.Definition.IntervalDuration == 5*time.Second, "the definition's interval")
	_, err = client.Catalog().Deregister(&api.CatalogDeregistration{Node: "go-txn"}, nil)
	need(t, err)
}

func TestSessionTour(t *testing.T) {
	client := connect(t)
	session := client.Session()
	id, _, err := session.Create(&api.SessionEntry{Name: "tour", TTL: "10s",
		Behavior: api.SessionBehaviorDelete}, nil)
	need(t, err)
	info, meta, err := session.Info(id, nil)
	need(t, err)
	expect(t, info.Name == "tour" && info.TTL == "10s" && info.LockDelay == 15*time.Second &&
		len(info.NodeChecks) == 1 && meta.LastIndex > 0, "info")
	renewed, _, err := session.Renew(id, nil)
	need(t, err)
	expect(t, renewed != nil && renewed.ID == id, "renew")
	list, _, err := session.Node(info.Node, nil)
	need(t, err)
	expect(t, len(list) >= 1, "node")
	_, err = session.Destroy(id, nil)
	need(t, err)
	renewed, _, err = session.Renew(id, nil)
	need(t, err)
	expect(t, renewed == nil, "renewal of none")
	id, _, err = session.CreateNoChecks(&api.SessionEntry{ServiceChecks: nil}, nil)
	need(t, err)
	info, _, err = session.Info(id, nil)
	need(t, err)
	expect(t, len(info.NodeChecks) == 0, "no checks")
	_, err = session.Destroy(id, nil)
	need(t, err)
}

func TestLockTour(t *testing.T) {
	client := connect(t)
	options := func() *api.LockOptions {
		return &api.LockOptions{Key: "go/lock", LockDelay: time.Millisecond, SessionTTL: "10s"}
	}
	first, err := client.LockOpts(options())
	need(t, err)
	lost, err := first.Lock(nil)
	need(t, err)
	expect(t, lost != nil, "locked")
	expect(t, first.Destroy() == api.ErrLockHeld, "held")

	once := options()
	once.LockTryOnce, once.LockWaitTime = true, 250*time.Millisecond
	try, err := client.LockOpts(once)
	need(t, err)
	begun := time.Now()
	ch, err := try.Lock(nil)
	need(t, err)
	expect(t, ch == nil && time.Since(begun) >= 250*time.Millisecond, "one attempt, in its time")

	second, err := client.LockOpts(options())
	need(t, err)
	got := make(chan error)
	go func() {
		_, err := second.Lock(nil)
		got <- err
	}()
	time.Sleep(100 * time.Millisecond)
	kept(t, lost)
	need(t, first.Unlock())
	need(t, <-got)
	expect(t, first.Destroy() == api.ErrLockInUse, "in use")
	need(t, second.Unlock())
	need(t, second.Destroy())

	lost, err = first.Lock(nil)
	need(t, err)
	pair, _, err := client.KV().Get("go/lock", nil)
	need(t, err)
	_, err = client.Session().Destroy(pair.Session, nil)
	need(t, err)
	select {
	case <-lost:
	case <-time.After(10 * time.Second):
		t.Fatal("the loss is not told")
	}
}

// kept: nobody has told the holder that it lost what it holds.
func kept(t *testing.T, lost <-chan struct{}) {
	t.Helper()
	select {
	case <-lost:
		t.Fatal("lost without a reason")
	default:
	}
}

func TestSemaphoreTour(t *testing.T) {
	client := connect(t)
	contender := func() *api.Semaphore {
		semaphore, err := client.SemaphoreOpts(&api.SemaphoreOptions{Prefix: "go/semaphore",
			Limit: 2, SessionTTL: "10s"})
		need(t, err)
		return semaphore
	}
	a, b, c := contender(), contender(), contender()
	var lost [2]<-chan struct{}
	for i, semaphore := range []*api.Semaphore{a, b} {
		ch, err := semaphore.Acquire(nil)
		need(t, err)
		expect(t, ch != nil, "acquired")
		lost[i] = ch
	}
	ch, err := c.Acquire(stopAfter(300 * time.Millisecond))
	need(t, err)
	expect(t, ch == nil, "there is no place")
	kept(t, lost[0])
	kept(t, lost[1])
	need(t, a.Release())
	ch, err = c.Acquire(nil)
	need(t, err)
	expect(t, ch != nil, "a place became free")
	need(t, b.Release())
	need(t, c.Release())
	need(t, c.Destroy())
}

func stopAfter(wait time.Duration) chan struct{} {
	ch := make(chan struct{})
	go func() {
		time.Sleep(wait)
		close(ch)
	}()
	return ch
}
