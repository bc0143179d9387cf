package lab

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"time"
)

// gateway is what hosts have of the world: names and, through a proxy, Debian's mirror. It is this process, so that
// nothing about this computer's own routes and filters has to change.
type gateway struct {
	names net.PacketConn
	proxy *http.Server
}

const (
	namesPort = "53"
	proxyPort = "3128"
)

func openGateway(address string) (*gateway, error) {
	names, err := net.ListenPacket("udp", net.JoinHostPort(address, namesPort))
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", net.JoinHostPort(address, proxyPort))
	if err != nil {
		return nil, errors.Join(err, names.Close())
	}
	g := &gateway{names: names, proxy: &http.Server{Handler: http.HandlerFunc(forward), ReadHeaderTimeout: time.Minute}}
	go g.relayNames()
	go func() { _ = g.proxy.Serve(l) }() // until close
	return g, nil
}

func (g *gateway) close() {
	_ = g.names.Close()
	_ = g.proxy.Close()
}

// relayNames hands questions to this computer's first name server. A question without an answer stays without one.
func (g *gateway) relayNames() {
	const largest = 4096
	for {
		question := make([]byte, largest)
		n, from, err := g.names.ReadFrom(question)
		if err != nil {
			return
		}
		go func() {
			if answer, err := ask(question[:n]); err == nil {
				_, _ = g.names.WriteTo(answer, from)
			}
		}()
	}
}

func ask(question []byte) ([]byte, error) {
	servers := nameservers()
	if len(servers) == 0 {
		return nil, errors.New("this computer has no name server")
	}
	conn, err := net.Dial("udp", net.JoinHostPort(servers[0].String(), namesPort))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(question); err != nil {
		return nil, err
	}
	answer := make([]byte, 4096)
	n, err := conn.Read(answer)
	return answer[:n], err
}

// forward is an HTTP proxy.
func forward(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		(&httputil.ReverseProxy{Rewrite: func(*httputil.ProxyRequest) {}}).ServeHTTP(w, r)
		return
	}
	far, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer far.Close()
	near, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer near.Close()
	if _, err := near.Write([]byte("HTTP/1.1 200 OK\r\n\r\n")); err != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { _, _ = io.Copy(far, buffered); cancel() }()
	go func() { _, _ = io.Copy(near, far); cancel() }()
	<-ctx.Done()
}
