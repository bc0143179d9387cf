package main

import (
	"errors"
	"fmt"
	"log"
	"slices"
)

// rig is what a lab needs of whoever it works for. It stops by panicking with a stopped, which close turns into an error.
type rig struct{ cleanups []func() }

type stopped struct{ error }

func (r *rig) Helper() {}

// Cleanup implements netlab.TB.
func (r *rig) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

// Fatalf implements netlab.TB.
func (r *rig) Fatalf(format string, args ...any) { panic(stopped{fmt.Errorf(format, args...)}) }

// Skip implements netlab.TB.
func (r *rig) Skip(args ...any) { panic(stopped{errors.New(fmt.Sprint(args...))}) }

// must stops when err is set.
func (r *rig) must(err error) {
	if err != nil {
		panic(stopped{err})
	}
}

// within runs f and then all that was to be cleaned up, newest first.
func within(f func(*rig)) (err error) {
	r := &rig{}
	defer func() {
		for _, clean := range slices.Backward(r.cleanups) {
			if e := caught(clean); e != nil {
				log.Printf("clean up: %v", e)
			}
		}
	}()
	return caught(func() { f(r) })
}

// caught runs f and returns why it stopped.
func caught(f func()) (err error) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case stopped:
			err = v.error
		default:
			panic(v)
		}
	}()
	f()
	return nil
}
