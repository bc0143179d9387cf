//go:build !linux

package lab

// Why reports what keeps labs from running here, or "".
func Why() string { return "its hosts are namespaces of Linux" }
