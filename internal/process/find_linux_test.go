package process

import (
	"net"
	"os"
	"testing"
)

func TestListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	id, name, err := Listener(port)
	if err != nil || id.PID != os.Getpid() || name == "" {
		t.Errorf("listener %v %q, %v", id, name, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if id, _, err := Listener(port); err != nil || !id.IsZero() {
		t.Errorf("nobody listens, but: %v, %v", id, err)
	}
}

func TestUDPHolder(t *testing.T) {
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(l.LocalAddr().(*net.UDPAddr).Port)
	id, name, err := UDPHolder(port)
	if err != nil || id.PID != os.Getpid() || name == "" {
		t.Errorf("holder %v %q, %v", id, name, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if id, _, err := UDPHolder(port); err != nil || !id.IsZero() {
		t.Errorf("nobody has it, but: %v, %v", id, err)
	}
}
