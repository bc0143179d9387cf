package wireguard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// changesOf are the kernel's multicast groups that tell of addresses and routes coming and going.
const changesOf = unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE

// WatchUnderlay calls changed after an address or a route of this computer's changed, until ctx is done. Tunnels do
// not count, our own above all. It returns ctx's error, or why it cannot watch. The namespace that it watches is the
// caller's.
func WatchUnderlay(ctx context.Context, changed func()) error {
	events, err := listen()
	if err != nil { // some sandboxes
		return poll(ctx, addresses, changed)
	}
	defer events.Close()
	if err := watch(ctx, events, changed); ctx.Err() == nil {
		return fmt.Errorf("watch addresses: %w", err)
	}
	return ctx.Err()
}

func watch(ctx context.Context, events *os.File, changed func()) error {
	defer context.AfterFunc(ctx, func() { _ = events.SetReadDeadline(time.Unix(1, 0)) })()
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer nl.Close()
	message := make([]byte, 64<<10)
	return follow(func() (string, error) { return snapshot(nl) }, changed, func() error {
		// What the message says is looked up instead. Messages that were lost say that much too.
		if _, err := events.Read(message); !errors.Is(err, unix.ENOBUFS) {
			return err
		}
		return nil
	})
}

// listen returns where the kernel tells that something changed.
func listen() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: changesOf}); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "netlink"), nil
}

// snapshot returns the addresses and routes as one text, but for those of tunnels and of loopback.
func snapshot(nl *netlink.Handle) (string, error) {
	links, err := steady(nl.LinkList)
	if err != nil {
		return "", fmt.Errorf("list devices: %w", err)
	}
	other := map[int]bool{}
	for _, l := range links {
		other[l.Attrs().Index] = l.Type() == "wireguard" || l.Type() == "tuntap" || l.Attrs().Name == "lo"
	}
	as, err := steady(func() ([]netlink.Addr, error) { return nl.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return "", fmt.Errorf("list addresses: %w", err)
	}
	var out []string
	for _, a := range as {
		if !other[a.LinkIndex] { // an address that is being tested for doubles cannot be used yet
			out = append(out, fmt.Sprintf("%d %s %x", a.LinkIndex, a.IPNet, a.Flags&unix.IFA_F_TENTATIVE))
		}
	}
	rs, err := steady(func() ([]netlink.Route, error) { return nl.RouteList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return "", fmt.Errorf("list routes: %w", err)
	}
	for _, r := range rs {
		if len(r.MultiPath) > 0 || !other[r.LinkIndex] {
			out = append(out, fmt.Sprintf("%d %v via %s %v metric %d %x", r.LinkIndex, r.Dst, r.Gw, r.MultiPath, r.Priority, r.Flags))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n"), nil
}

// steady lists again where something changed while the kernel listed.
func steady[T any](list func() ([]T, error)) (all []T, err error) {
	for range 10 {
		if all, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return all, err
}
