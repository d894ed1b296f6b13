// The service discovery of Prometheus, run as Prometheus runs it. Debian's build of Prometheus is
// without the part that speaks to the agent.
//
//	prometheus-discovery FILE
//
// FILE is a consul_sd_configs entry in YAML. Prints the targets as one line of JSON, an array of
// their labels, each time that they change.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"time"

	kitlog "github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/consul"
	"gopkg.in/yaml.v2"
)

func main() {
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	config := consul.DefaultSDConfig
	if err := yaml.UnmarshalStrict(text, &config); err != nil {
		log.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	metrics, err := discovery.CreateAndRegisterSDMetrics(registry)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	manager := discovery.NewManager(ctx, kitlog.NewLogfmtLogger(os.Stderr), registry, metrics,
		discovery.Updatert(200*time.Millisecond))
	if err := manager.ApplyConfig(map[string]discovery.Configs{"found": {&config}}); err != nil {
		log.Fatal(err)
	}
	go func() {
		log.Fatal(manager.Run())
	}()
	out := json.NewEncoder(os.Stdout)
	for update := range manager.SyncCh() {
		targets := []model.LabelSet{}
		for _, group := range update["found"] {
			for _, target := range group.Targets {
				targets = append(targets, target.Merge(group.Labels))
			}
		}
		if err := out.Encode(targets); err != nil {
			log.Fatal(err)
		}
	}
}
