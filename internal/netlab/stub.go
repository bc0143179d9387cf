//go:build !linux

package netlab

func unable() string { return "they are Linux's" }
