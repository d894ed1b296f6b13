// A test suite that starts `consul` from its PATH by the official helper, as suites of programs
// that use Consul do.
package main

import (
	"testing"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/consul/sdk/testutil"
)

func TestServerOfTheSDK(t *testing.T) {
	server, err := testutil.NewTestServerConfigT(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	defer func() {
		if !stopped {
			server.Stop()
		}
	}()
	server.WaitForLeader(t)
	server.WaitForSerfCheck(t)
	server.AddAddressableService(t, "redis", testutil.HealthPassing, "192.0.2.1", 6379,
		[]string{"v1"})
	server.AddCheck(t, "disk", "redis", testutil.HealthWarning)

	client, err := api.NewClient(&api.Config{Address: server.HTTPAddr})
	if err != nil {
		t.Fatal(err)
	}
	entries, _, err := client.Health().Service("redis", "v1", false, nil)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%v, %d entries", err, len(entries))
	}
	if status := entries[0].Checks.AggregatedStatus(); status != api.HealthWarning {
		t.Fatalf("status %s", status)
	}
	// The helper interrupts the server. Told by a signal to stop at once, that exits with 1, as the
	// helper's users know.
	stopped = true
	if err := server.Stop(); err != nil && err.Error() != "exit status 1" {
		t.Fatal(err)
	}
}
