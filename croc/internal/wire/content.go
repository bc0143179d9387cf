package wire

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// contentAddresses returns where the relay takes the content of who meets at l.
func (l *link) contentAddresses() ([]string, error) {
	host, _, err := net.SplitHostPort(l.RemoteAddr().String())
	if err != nil {
		return nil, err
	}
	ports := strings.Split(l.banner, ",")
	if len(ports) > maxPorts {
		return nil, faultf(RelayRefused, "the relay names %d ports, more than %d", len(ports), maxPorts)
	}
	for i, p := range ports {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return nil, faultf(RelayRefused, "the relay names no port for the content")
		}
		ports[i] = net.JoinHostPort(host, p)
	}
	return ports, nil
}

// content is the links for the content of one transfer. They are opened while we wait for the other side: that is four
// times to the relay and back which nobody waits for.
type content struct {
	limit  time.Duration
	cancel context.CancelFunc
	ready  sync.WaitGroup
	err    error
	all    []*link
	errs   []error
}

// openContent begins to join the rooms for the content of who meets at l: as many as the relay has, or at most n.
func (t Transfer) openContent(ctx context.Context, l *link, n int) *content {
	c := &content{limit: t.Limit}
	ctx, c.cancel = context.WithCancel(ctx)
	addresses, err := l.contentAddresses()
	if err != nil {
		c.err = err
		return c
	}
	addresses = addresses[:min(n, len(addresses))]
	c.all, c.errs = make([]*link, len(addresses)), make([]error, len(addresses))
	room, _ := split(t.Code)
	for i, a := range addresses {
		c.ready.Go(func() { c.all[i], c.errs[i] = dial(ctx, a, t.password(), fmt.Sprintf("%s-%d", room, i)) })
	}
	return c
}

// links waits for the links and returns them.
func (c *content) links() ([]*link, error) {
	c.ready.Wait()
	for _, err := range append(c.errs, c.err) {
		if err != nil {
			return nil, err
		}
	}
	for _, l := range c.all {
		l.SetDeadline(time.Now().Add(c.limit))
	}
	return c.all, nil
}

// close closes the links, also those that are not open yet.
func (c *content) close() {
	c.cancel()
	c.ready.Wait()
	for _, l := range c.all {
		if l != nil {
			l.Close()
		}
	}
}
