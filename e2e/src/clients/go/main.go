// SPDX-License-Identifier: Apache-2.0

// Command who says its name, and asks others for theirs: replicas that can be told apart, and clients that notice each
// connection that fails or is slow. It is static and without libc, so the system calls that it makes are its own.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage: who serve [flags]             a replica: says its name over TCP (lines and HTTP) and UDP
       who loop  [flags] HOST PORT   connects, asks, closes, again and again; one line for each attempt
       who udp   [flags] HOST PORT   the same by datagrams
       who hold  [flags] HOST PORT   keeps connections open and asks on them; says what became of each
       who churn [flags] HOST PORT   a load: opens connections at random moments, each lives for a random time
       who ask   [flags] HOST PORT   asks as any Go program would: package net, net/http, Go's own resolver

Flags come first: who COMMAND -h lists them. Results are JSON, one object a line. SIGTERM ends loop, udp and hold in
order: what was begun is finished and told; churn lets go of what is open.`

var commands = map[string]func([]string) error{
	"serve": serve,
	"loop":  loop,
	"udp":   datagrams,
	"hold":  hold,
	"churn": churn,
	"ask":   ask,
}

func main() {
	name := ""
	if len(os.Args) > 1 {
		name = os.Args[1]
	}
	command, known := commands[name]
	if !known {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	if err := command(os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "who:", err)
		os.Exit(1)
	}
}

// stopped is closed when somebody wants this program to end.
func stopped() <-chan struct{} {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM, syscall.SIGINT)
	done := make(chan struct{})
	go func() {
		<-asked
		close(done)
	}()
	return done
}
