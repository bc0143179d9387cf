package netlab

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// WireOptions say what a link is like. The zero value is a link without delay or limit.
type WireOptions struct {
	Delay time.Duration // one way
	Rate  uint64        // bits a second each way; 0: no limit
	MTU   int           // 0: 1500
}

// defaultMTU is Ethernet's.
const defaultMTU = 1500

// end is one end of a link: an interface that a namespace will have.
type end struct {
	*Namespace
	device string
}

// Link joins two namespaces with a pair of interfaces that are up and have no addresses. Large segments pass it whole,
// as through a network card that cuts them.
func (l *Lab) Link(a *Namespace, deviceA string, b *Namespace, deviceB string) {
	l.tb.Helper()
	veth(l, end{a, deviceA}, end{b, deviceB}, defaultMTU)
}

func veth(l *Lab, a, b end, mtu int) {
	l.tb.Helper()
	_, err := output("ip", "link", "add", a.device, "netns", a.Name, "mtu", fmt.Sprint(mtu), "type", "veth",
		"peer", "name", b.device, "netns", b.Name, "mtu", fmt.Sprint(mtu))
	l.must(err)
	a.batch("link set " + a.device + " up")
	b.batch("link set " + b.device + " up")
}

// Wire joins two namespaces with a link of that kind; the interfaces are up and have no addresses. Where the kernel has
// no netem the packets pass through this process, which does for some hundred Mbit/s.
func (l *Lab) Wire(a *Namespace, deviceA string, b *Namespace, deviceB string, options WireOptions) {
	l.tb.Helper()
	link(l, end{a, deviceA}, end{b, deviceB}, options)
}

// link makes a link on which every packet is as large as a real one.
func link(l *Lab, a, b end, options WireOptions) {
	l.tb.Helper()
	mtu := options.MTU
	if mtu == 0 {
		mtu = defaultMTU
	}
	if options.Delay == 0 && options.Rate == 0 {
		veth(l, a, b, mtu)
		a.cut()
		b.cut()
		return
	}
	veth(l, a, b, mtu)
	if a.netem(options) == nil && b.netem(options) == nil {
		a.cut()
		b.cut()
		return
	}
	a.batch("link delete " + a.device)
	splice(l, a, b, options, mtu)
}

// cut makes the kernel segment before the link and not behind it.
func (e end) cut() {
	e.lab.tb.Helper()
	e.batch(fmt.Sprintf("link set dev %s gso_max_segs 1", e.device))
}

func (e end) netem(options WireOptions) error {
	args := []string{"netns", "exec", e.Name, "tc", "qdisc", "replace", "dev", e.device, "root", "netem", "delay", fmt.Sprintf("%dus", options.Delay.Microseconds())}
	if options.Rate != 0 {
		args = append(args, "rate", fmt.Sprintf("%dbit", options.Rate))
	}
	_, err := output("ip", args...)
	return err
}

// splice joins two TUN devices with a delay line each way.
func splice(l *Lab, a, b end, options WireOptions, mtu int) {
	l.tb.Helper()
	fa, err := a.tun(mtu)
	l.must(err)
	fb, err := b.tun(mtu)
	l.must(err)
	done := make(chan struct{})
	for _, way := range [2][2]*os.File{{fa, fb}, {fb, fa}} {
		d := delayLine{options: options, packets: make(chan parcel, maxQueued)}
		go func() { d.fill(way[0]); done <- struct{}{} }()
		go func() { d.drain(way[1]); done <- struct{}{} }()
	}
	l.tb.Cleanup(func() {
		_ = fa.Close()
		_ = fb.Close()
		for range 4 {
			<-done
		}
	})
}

// tun makes a TUN device that is up.
func (e end) tun(mtu int) (*os.File, error) {
	var f *os.File
	err := e.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open tun: %w", err)
		}
		request, err := unix.NewIfreq(e.device)
		if err == nil {
			request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
		}
		if err != nil {
			_ = unix.Close(fd)
			return fmt.Errorf("make tun device %q: %w", e.device, err)
		}
		f = os.NewFile(uintptr(fd), e.device) // not blocking, so it goes to the poller and Close ends Read
		return nil
	})
	if err == nil {
		e.batch(fmt.Sprintf("link set dev %s mtu %d up", e.device, mtu))
	}
	return f, err
}

// parcel is a packet and when it arrives.
type parcel struct {
	packet []byte
	due    time.Time
}

// maxQueued bounds a delay line: what comes when it is full is lost, as at a router.
const maxQueued = 4096

type delayLine struct {
	options WireOptions
	packets chan parcel
	free    time.Time // when the link can take the next packet
}

// fill takes packets from a device until that is closed.
func (d *delayLine) fill(from io.Reader) {
	defer close(d.packets)
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		at := time.Now()
		if d.options.Rate != 0 {
			if d.free.Before(at) {
				d.free = at
			}
			d.free = d.free.Add(time.Duration(uint64(n) * 8 * uint64(time.Second) / d.options.Rate))
			at = d.free
		}
		select {
		case d.packets <- parcel{append([]byte(nil), buffer[:n]...), at.Add(d.options.Delay)}:
		default:
		}
	}
}

// drain hands packets over when they are due.
func (d *delayLine) drain(to io.Writer) {
	for p := range d.packets {
		if wait := time.Until(p.due); wait > 0 {
			time.Sleep(wait)
		}
		_, _ = to.Write(p.packet) // a device that is down loses it, as it should
	}
}
