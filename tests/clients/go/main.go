// The official Go client on a tour of the agent.
//
//	go-client ADDRESS SERVER_ADDRESS CHECKED_IP CHECKED_PORT CHECKED_URL
//
// Ends with 0 if the client got from every call what it should. Another program registers the
// instances w1 and w2 of the service "woken" when it sees that this one waits for them.
package main

import (
	"fmt"
	"log"
	"os"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/consul/api/watch"
)

const (
	wait     = 60 * time.Second
	deadline = 30 * time.Second
)

func must(err error) {
	if err != nil {
		log.Output(2, err.Error())
		os.Exit(1)
	}
}

func equal(got, want any) {
	if !reflect.DeepEqual(got, want) {
		log.Output(2, fmt.Sprintf("got %#v, expected %#v", got, want))
		os.Exit(1)
	}
}

// refused: the client saw an error that says so.
func refused(err error, words string) {
	if err == nil || !strings.Contains(err.Error(), words) {
		log.Output(2, fmt.Sprintf("got %v, expected an error with: %s", err, words))
		os.Exit(1)
	}
}

// blocking runs a query again each time that it is woken, until it tells what is hoped for.
func blocking(what string, query func(*api.QueryOptions) (bool, *api.QueryMeta, error)) {
	options := &api.QueryOptions{WaitTime: wait}
	for end := time.Now().Add(deadline); ; {
		done, meta, err := query(options)
		must(err)
		if done {
			return
		}
		if time.Now().After(end) {
			log.Fatalf("not in time: %s", what)
		}
		if meta.LastIndex == 0 || !meta.KnownLeader {
			log.Fatalf("%s: index %d, known leader %v", what, meta.LastIndex, meta.KnownLeader)
		}
		options.WaitIndex = meta.LastIndex
	}
}

func statusAndSelf(client *api.Client, server string) {
	leader, err := client.Status().Leader()
	must(err)
	equal(leader, server)
	peers, err := client.Status().Peers()
	must(err)
	equal(peers, []string{server})
	name, err := client.Agent().NodeName()
	must(err)
	equal(name, "n1")
	self, err := client.Agent().Self()
	must(err)
	equal(self["Config"]["Datacenter"], "dc1")
	if self["DebugConfig"]["SerfPortLAN"] == nil || self["Member"]["Name"] != "n1" {
		log.Fatalf("self: %v", self)
	}
	version, err := client.Agent().Version()
	must(err)
	if !strings.HasPrefix(version["HumanVersion"].(string), "1.21.") {
		log.Fatalf("version: %v", version)
	}
	datacenters, err := client.Catalog().Datacenters()
	must(err)
	equal(datacenters, []string{"dc1"})
}

func ttlService(client *api.Client) {
	agent, catalog, health := client.Agent(), client.Catalog(), client.Health()
	must(agent.ServiceRegister(&api.AgentServiceRegistration{
		ID: "db-1", Name: "db", Tags: []string{"v1", "primary"}, Port: 5432, Address: "192.0.2.9",
		Meta:    map[string]string{"zone": "a"},
		Weights: &api.AgentWeights{Passing: 10, Warning: 2},
		Check:   &api.AgentServiceCheck{TTL: "60s", DeregisterCriticalServiceAfter: "1h"},
	}))
	services, err := agent.Services()
	must(err)
	equal(services["db-1"].Weights, api.AgentWeights{Passing: 10, Warning: 2})
	checks, err := agent.Checks()
	must(err)
	equal(checks["service:db-1"].Status, api.HealthCritical)

	steps := []struct {
		status string
		update func(string, string) error
	}{
		{api.HealthPassing, agent.PassTTL},
		{api.HealthCritical, agent.FailTTL},
		{api.HealthWarning, agent.WarnTTL},
		{api.HealthPassing, func(id, note string) error {
			return agent.UpdateTTL(id, note, api.HealthPassing)
		}},
	}
	for _, step := range steps {
		must(step.update("service:db-1", "note "+step.status))
		rows, _, err := health.Checks("db", nil)
		must(err)
		equal([]string{rows[0].Status, rows[0].Output}, []string{step.status, "note " + step.status})
		equal(rows.AggregatedStatus(), step.status)
		rows, _, err = health.State(step.status, nil)
		must(err)
		found := false
		for _, row := range rows {
			found = found || row.CheckID == "service:db-1"
		}
		equal(found, true)
		entries, _, err := health.Service("db", "", true, nil)
		must(err)
		equal(len(entries) == 1, step.status == api.HealthPassing)
	}

	names, _, err := catalog.Services(nil)
	must(err)
	sort.Strings(names["db"])
	equal(names["db"], []string{"primary", "v1"})
	rows, meta, err := catalog.ServiceMultipleTags("db", []string{"v1", "primary"}, nil)
	must(err)
	equal(len(rows), 1)
	row := rows[0]
	equal([]any{row.Node, row.ServiceAddress, row.ServicePort, row.ServiceMeta["zone"]},
		[]any{"n1", "192.0.2.9", 5432, "a"})
	equal(rows[0].ServiceWeights, api.Weights{Passing: 10, Warning: 2})
	equal(meta.KnownLeader, true)
	rows, _, err = catalog.Service("db", "v2", nil)
	must(err)
	equal(len(rows), 0)
	nodes, _, err := catalog.Nodes(nil)
	must(err)
	equal([]any{len(nodes), nodes[0].Node}, []any{1, "n1"})
	node, _, err := catalog.Node("n1", nil)
	must(err)
	equal(node.Services["db-1"].Port, 5432)
	node, _, err = catalog.Node("nobody", nil)
	must(err)
	equal(node, (*api.CatalogNode)(nil))
	list, _, err := catalog.NodeServiceList("n1", nil)
	must(err)
	equal(len(list.Services), 2) // and the agent's own
	nodeChecks, _, err := health.Node("n1", nil)
	must(err)
	equal(len(nodeChecks), 2)

	// What looks for instances of a mesh finds none, and no error.
	entries, _, err := health.Connect("db", "", true, nil)
	must(err)
	equal(len(entries), 0)
	entries, _, err = health.Ingress("db", true, nil)
	must(err)
	equal(len(entries), 0)
	rows, _, err = catalog.Connect("db", "", nil)
	must(err)
	equal(len(rows), 0)

	must(agent.ServiceDeregister("db-1"))
	services, err = agent.Services()
	must(err)
	equal(len(services), 0)
	names, _, err = catalog.Services(nil)
	must(err)
	equal(names, map[string][]string{"consul": {}})
}

func httpCheck(client *api.Client, ip, port, url string) {
	agent := client.Agent()
	number, err := strconv.Atoi(port)
	must(err)
	must(agent.ServiceRegister(&api.AgentServiceRegistration{
		Name: "web", Address: ip, Port: number,
		Checks: api.AgentServiceChecks{
			{CheckID: "web-http", HTTP: url, Method: "GET", Interval: "1s", Timeout: "2s",
				Header: map[string][]string{"X-From": {"cairn"}}},
			{CheckID: "web-tcp", TCP: ip + ":" + port, Interval: "1s", Timeout: "2s"},
		}}))
	blocking("web passes", func(options *api.QueryOptions) (bool, *api.QueryMeta, error) {
		entries, meta, err := client.Health().Service("web", "", true, options)
		if err == nil && len(entries) == 1 {
			equal(entries[0].Checks.AggregatedStatus(), api.HealthPassing)
			equal(len(entries[0].Checks), 3)
		}
		return len(entries) == 1, meta, err
	})
	must(agent.CheckRegister(&api.AgentCheckRegistration{
		ID: "by-hand", Name: "by hand", ServiceID: "web", Notes: "a TTL",
		AgentServiceCheck: api.AgentServiceCheck{TTL: "60s", Status: api.HealthPassing}}))
	checks, err := agent.Checks()
	must(err)
	equal([]any{len(checks), checks["by-hand"].ServiceName, checks["by-hand"].Notes},
		[]any{3, "web", "a TTL"})
	must(agent.CheckDeregister("by-hand"))
	must(agent.ServiceDeregister("web"))
}

func catalogWrites(client *api.Client) {
	catalog := client.Catalog()
	_, err := catalog.Register(&api.CatalogRegistration{
		Node: "ext-1", Address: "192.0.2.50", NodeMeta: map[string]string{"rack": "7"},
		Service: &api.AgentService{ID: "m1", Service: "mail", Port: 25},
		Checks: api.HealthChecks{{Node: "ext-1", CheckID: "smtp", Name: "smtp", ServiceID: "m1",
			Status: api.HealthPassing,
			Definition: api.HealthCheckDefinition{TCP: "192.0.2.50:25",
				IntervalDuration: 5 * time.Second}}}}, nil)
	must(err)
	for _, options := range []*api.QueryOptions{nil, {AllowStale: true}, {RequireConsistent: true},
		{Datacenter: "dc1"}, {Near: "_agent"}, {UseCache: true, MaxAge: time.Second},
		{NodeMeta: map[string]string{"rack": "7"}},
		{Filter: `NodeMeta.rack == "7" and ServicePort != 80`}} {
		rows, meta, err := catalog.Service("mail", "", options)
		must(err)
		equal([]any{len(rows), rows[0].Address}, []any{1, "192.0.2.50"})
		equal(meta.LastContact, time.Duration(0))
	}
	checks, _, err := client.Health().Checks("mail", nil)
	must(err)
	equal(checks[0].Definition.IntervalDuration, 5*time.Second)
	_, err = catalog.Deregister(&api.CatalogDeregistration{Node: "ext-1"}, nil)
	must(err)
	rows, _, err := catalog.Service("mail", "", nil)
	must(err)
	equal(len(rows), 0)
}

// woken: a blocking query by hand, then the client's own watch plan.
func woken(client *api.Client, address string) {
	instances := 0
	blocking("w1", func(options *api.QueryOptions) (bool, *api.QueryMeta, error) {
		rows, meta, err := client.Catalog().Service("woken", "", options)
		instances = len(rows)
		return instances == 1, meta, err
	})
	plan, err := watch.Parse(map[string]any{"type": "service", "service": "woken"})
	must(err)
	plan.Handler = func(index uint64, data any) {
		if entries := data.([]*api.ServiceEntry); len(entries) == 2 {
			equal([]string{entries[0].Service.ID, entries[1].Service.ID}, []string{"w1", "w2"})
			instances = 2
			plan.Stop()
		}
	}
	timer := time.AfterFunc(deadline, plan.Stop)
	must(plan.Run(address))
	timer.Stop()
	equal(instances, 2)
}

func errors(client *api.Client) {
	refused(client.Agent().ServiceRegister(&api.AgentServiceRegistration{}), "Missing service name")
	refused(client.Agent().PassTTL("nothing", ""), "nothing")
	_, _, err := client.Catalog().Nodes(&api.QueryOptions{Datacenter: "elsewhere"})
	refused(err, "Unexpected response code: 500 (No path to datacenter)")
	_, err = client.Catalog().Register(&api.CatalogRegistration{}, nil)
	refused(err, "Unexpected response code: 500 (Must provide node")
}

func main() {
	log.SetFlags(log.Lshortfile)
	if len(os.Args) != 6 {
		log.Fatalf("usage: %s ADDRESS SERVER_ADDRESS CHECKED_IP CHECKED_PORT CHECKED_URL", os.Args[0])
	}
	client, err := api.NewClient(&api.Config{Address: os.Args[1]})
	must(err)
	statusAndSelf(client, os.Args[2])
	ttlService(client)
	httpCheck(client, os.Args[3], os.Args[4], os.Args[5])
	catalogWrites(client)
	errors(client)
	woken(client, os.Args[1])
}
