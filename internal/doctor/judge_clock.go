package doctor

import (
	"fmt"
	"time"
)

const (
	maxSkew = 5 * time.Second // between this clock and the chain's
	maxStep = time.Second     // of a clock that nobody sets
	// defaultInterval is what most chains take for a block.
	defaultInterval = 6 * time.Second
)

// firstYear is when the first version of this program was made: no clock that is earlier is right.
var firstYear = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const keepTime = "let the system keep the time: 'timedatectl set-ntp true', or install chrony"

// Clocks judges the clock by everything that can be had without the internet.
func Clocks(c Clock) []Check {
	return []Check{year(c), synchronised(c.Kernel), step(c), setBack(c), blocks(c)}
}

func year(c Clock) Check {
	floor, by := firstYear, "the first version of this program"
	if c.Built.After(floor) {
		floor, by = c.Built, "this program, which was built then"
	}
	measured := stamp(c.End)
	switch {
	case c.End.Before(floor):
		return computer.critical(CodeClockYear, fmt.Sprintf("the clock is wrong: it is before %s (%s)", by, stamp(floor)), measured, keepTime)
	case c.End.After(floor.AddDate(15, 0, 0)):
		return computer.warning(CodeClockYear, "the clock may be wrong: this program would be more than fifteen years old", measured, keepTime)
	}
	return computer.ok(CodeClockYear, "the clock's date can be right", measured)
}

func synchronised(k Kernel) Check {
	switch {
	case k.Err != "":
		return computer.notChecked(CodeClockSync, "whether somebody keeps the clock right is not known: "+k.Err, "")
	case !k.Synchronised:
		return computer.warning(CodeClockSync, "nobody keeps this computer's clock right: the kernel says that it is not synchronised", "", keepTime)
	}
	return computer.ok(CodeClockSync, "the clock is kept right", fmt.Sprintf("off by %s at most, the kernel says", k.MaxError.Round(time.Millisecond)))
}

// step compares how much the clock went on with a clock that nobody can set.
func step(c Clock) Check {
	off := c.End.Sub(c.Start) - c.Elapsed
	measured := fmt.Sprintf("%s off in %s", off.Round(time.Millisecond), c.Elapsed.Round(time.Millisecond))
	if off.Abs() > maxStep {
		return computer.warning(CodeClockStep, "the clock was set while we looked", measured, "find out what sets it; a clock is to be slewed, never set, while nodes run")
	}
	return computer.ok(CodeClockStep, "the clock went on evenly while we looked", measured)
}

// setBack finds files that were written after now.
func setBack(c Clock) Check {
	if c.Newest.IsZero() {
		return computer.notChecked(CodeClockFiles, "there is no deployment yet whose files could show that the clock was set back", "")
	}
	ahead := c.Newest.Sub(c.End)
	if ahead > maxSkew {
		return computer.warning(CodeClockFiles, "the clock was set back: a file was changed in what is now the future", fmt.Sprintf("%s, %s from now", c.NewestPath, ahead.Round(time.Second)), keepTime)
	}
	return computer.ok(CodeClockFiles, "no file is from the future", fmt.Sprintf("newest change %s ago", max(-ahead, 0).Round(time.Second)))
}

// blocks compares the clock with the chain's, which is the median of its validators'. A block that is old proves nothing:
// the chain may stand still. One that came while we looked is as old as blocks are when they come: about an interval.
func blocks(c Clock) Check {
	if len(c.Blocks) == 0 {
		return computer.notChecked(CodeClockChain, "no node answers, so the clock was not compared with a chain's", "run this again once nodes run")
	}
	interval := c.Interval
	if interval <= 0 {
		interval = defaultInterval
	}
	var fresh *Block
	for i, b := range c.Blocks {
		if ahead := b.Time.Sub(b.Seen); ahead > maxSkew {
			return computer.warning(CodeClockChain, fmt.Sprintf("the clock is behind the chain's: block %d is from the future", b.Height),
				fmt.Sprintf("%s ahead at %s", ahead.Round(time.Millisecond), b.Host), keepTime)
		}
		if b.Fresh && (fresh == nil || b.Seen.Sub(b.Time) < fresh.Seen.Sub(fresh.Time)) {
			fresh = &c.Blocks[i]
		}
	}
	if fresh == nil {
		return computer.notChecked(CodeClockChain, "no new block came while we looked, so the clock was compared in one direction only: no block is from the future", "see 'pressenter status' whether the chain goes on")
	}
	late := fresh.Seen.Sub(fresh.Time)
	measured := fmt.Sprintf("block %d came %s after its own time", fresh.Height, late.Round(time.Millisecond))
	if late > maxSkew+2*interval {
		return computer.warning(CodeClockChain, "the clock is ahead of the chain's, or blocks come late", measured, keepTime)
	}
	return computer.ok(CodeClockChain, "the clock agrees with the chain's", measured)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
