package main

import (
	"context"
	"slices"
	"time"

	catalogapi "github.com/callboard/callboard/functions/catalog-api"
	catalogsync "github.com/callboard/callboard/functions/catalog-sync"
	"github.com/callboard/callboard/functions/ingress"
	notificationsapi "github.com/callboard/callboard/functions/notifications-api"
	"github.com/callboard/callboard/functions/notify"
	"github.com/callboard/callboard/functions/router"
	"github.com/callboard/callboard/internal/auth"
	"github.com/callboard/callboard/internal/catalogstore"
	"github.com/callboard/callboard/internal/config"
	"github.com/callboard/callboard/internal/embedded"
	"github.com/callboard/callboard/internal/inbox"
	"github.com/callboard/callboard/internal/topology"
	"github.com/callboard/callboard/pkg/events"
	"github.com/callboard/callboard/pkg/notifications/rules"
)

// app wires the functions to the embedded engine, as the start.go of each function wires it to AWS.
type app struct {
	conf      *config.Config
	topo      *topology.Topology
	rules     []*rules.Compiled
	engine    *embedded.Engine
	observer  events.Observer
	sampleURL string // of the API of the sample repository server; "" if it is off
	programs  *programs
}

// ingestQueue is the queue that the ingress sends to.
type ingestQueue struct{ queues *embedded.Queues }

// Send implements ingress.Queue.
func (q ingestQueue) Send(ctx context.Context, m events.Message) error {
	return q.queues.Send(ctx, topology.QueueIngest, m)
}

// functions returns what the engine runs: the functions of the topology with their handlers.
func (a *app) functions(ctx context.Context) ([]embedded.Function, error) {
	var list []embedded.Function
	for _, f := range a.topo.Functions {
		h, err := a.handler(ctx, f)
		if err != nil {
			return nil, err
		}
		one := embedded.Function{Name: f.Name, Handler: h, Timeout: f.Timeout, Queues: slices.Concat(f.Queues, a.foreign(f))}
		for _, q := range a.topo.Queues {
			if slices.Contains(f.Queues, q.Name) {
				one.BatchSize, one.Concurrency = q.BatchSize, q.MaxConcurrency
			}
		}
		for _, r := range a.topo.Routes {
			if r.Function == f.Name {
				one.Routes = append(one.Routes, r.Path)
			}
		}
		for _, s := range a.topo.Schedules {
			if s.Function == f.Name && s.Topic == "" { // the queues of others are here, and need nobody to ask them
				one.Schedule, one.Event = s.Every, []byte(`{"source":"callboard.schedule","detail-type":"`+s.Name+`"}`)
			}
		}
		list = append(list, one)
	}
	return list, nil
}

func (a *app) handler(ctx context.Context, f topology.Function) (embedded.Handler, error) {
	if f.Build != "" {
		return a.programs.handler(ctx, f)
	}
	catalog := catalogstore.New(a.engine.Table, a.engine.Blobs)
	inbox := &inbox.Inbox{Table: a.engine.Table, Now: time.Now}
	authenticator := &auth.Authenticator{Tokens: a.conf.API.Tokens, Secrets: a.engine.Secrets}
	switch f.Name {
	case topology.Ingress:
		return &ingress.Handler{
			Topics: ingress.Topics(a.conf, a.topo), Queue: ingestQueue{a.engine.Queues}, Secrets: a.engine.Secrets, Observer: a.observer,
			Bucket: a.engine.Bucket(), Table: a.engine.Table,
		}, nil
	case topology.SQSPublisher:
		return a.sqsPublisher(f), nil
	case topology.Router:
		return a.batch(f, router.New(a.engine.Queues, a.topo)), nil
	case topology.CatalogSync:
		return a.catalogSync(f, catalog)
	case topology.Notify:
		return a.batch(f, &notify.Handler{Rules: a.rules, Inbox: inbox, Catalog: catalog}), nil
	case topology.CatalogAPI:
		return &catalogapi.Handler{Auth: authenticator, Store: catalog}, nil
	case topology.NotificationsAPI:
		return &notificationsapi.Handler{Auth: authenticator, Inbox: inbox, Catalog: catalog}, nil
	}
	return nil, events.Errorf(events.CodeInternal, "function %s is not part of this program", f.Name)
}

func (a *app) catalogSync(f topology.Function, store *catalogstore.Store) (embedded.Handler, error) {
	providers, err := catalogsync.Providers(a.conf.Catalog.Providers)
	if err != nil {
		return nil, err
	}
	hosts := slices.Clone(a.conf.Integrations.GitHub)
	if a.sampleURL != "" {
		for i := range hosts {
			hosts[i].APIBaseURL, hosts[i].Token, hosts[i].Apps = a.sampleURL, "", nil
		}
	}
	readers, err := catalogsync.Readers(hosts, a.engine.Secrets, nil)
	if err != nil {
		return nil, err
	}
	sync := &catalogsync.Handler{Providers: providers, Readers: readers, Store: store, Publisher: a.engine.Queues}
	return &catalogsync.Lambda{Batch: a.batch(f, sync), Sync: sync}, nil
}

// batch feeds a subscriber from the queues of a function.
func (a *app) batch(f topology.Function, s events.Subscriber) *events.Batch {
	return &events.Batch{Function: f.Name, Subscriber: s, Queue: a.engine.Queue(f.DeadLetter), Observer: a.observer, Bucket: a.engine.Bucket()}
}
