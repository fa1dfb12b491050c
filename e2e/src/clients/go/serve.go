// SPDX-License-Identifier: Apache-2.0
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// replica answers `who` with its name and the address that the question came from, on a connection as often as it is
// asked, until the other end closes it. HTTP requests get the same as their body.
type replica struct {
	name string
	slow time.Duration
}

func serve(arguments []string) error {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	name := flags.String("name", "", "what it says")
	port := flags.Int("port", 0, "TCP and UDP port")
	bind := flags.String("bind", "", "addresses, separated by commas; without it one dual-stack socket for all of them")
	slow := flags.Duration("slow", 0, "wait for so long before each answer")
	deaf := flags.Bool("deaf", false, "listen, but accept nothing: connections wait in the backlog")
	flags.Parse(arguments)
	if *name == "" || strings.ContainsAny(*name, " \t\r\n") || *port < 1 || *port > 65535 {
		return errors.New("serve needs a -name of one word and a -port from 1 to 65535")
	}
	one := replica{*name, *slow}
	failed := make(chan error)
	var listeners []net.Listener
	for _, address := range strings.Split(*bind, ",") {
		at := net.JoinHostPort(address, strconv.Itoa(*port))
		packets, err := net.ListenPacket("udp", at)
		if err != nil {
			return err
		}
		// TCP comes last: who listens there is ready altogether.
		listener, err := net.Listen("tcp", at)
		if err != nil {
			return err
		}
		listeners = append(listeners, listener)
		go func() { failed <- one.datagrams(packets.(*net.UDPConn)) }()
		if !*deaf {
			go func() { failed <- one.accept(listener) }()
		}
	}
	err := <-failed
	runtime.KeepAlive(listeners) // a deaf one must not be collected: that closes it
	return err
}

func (one replica) answer(from netip.AddrPort) string {
	return fmt.Sprintf("%s %s\n", one.name, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))
}

func (one replica) accept(listener net.Listener) error {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go one.converse(connection)
	}
}

func (one replica) converse(connection net.Conn) {
	defer connection.Close()
	answer := one.answer(connection.RemoteAddr().(*net.TCPAddr).AddrPort())
	reader := bufio.NewReader(connection)
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			return
		}
		words := strings.Fields(line)
		isHTTP := len(words) == 3 && strings.HasPrefix(words[2], "HTTP/1.")
		last := false
		if isHTTP {
			if last, err = endOfRequest(reader); err != nil {
				return
			}
			last = last || words[2] == "HTTP/1.0"
		} else if len(words) != 1 || words[0] != "who" {
			return
		}
		time.Sleep(one.slow)
		if isHTTP {
			err = respond(connection, answer, last)
		} else {
			_, err = io.WriteString(connection, answer)
		}
		if err != nil || last {
			return
		}
	}
}

// endOfRequest reads a request's header lines and tells whether the client wants no more than this one.
func endOfRequest(reader *bufio.Reader) (last bool, err error) {
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			return false, err
		}
		line = strings.TrimSpace(line)
		if line == "" {
			return last, nil
		}
		name, value, _ := strings.Cut(line, ":")
		if strings.EqualFold(name, "connection") && strings.EqualFold(strings.TrimSpace(value), "close") {
			last = true
		}
	}
}

func respond(writer io.Writer, body string, last bool) error {
	connection := "keep-alive"
	if last {
		connection = "close"
	}
	_, err := fmt.Fprintf(writer,
		"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: %s\r\n\r\n%s",
		len(body), connection, body)
	return err
}

func (one replica) datagrams(packets *net.UDPConn) error {
	data := make([]byte, 2048)
	for {
		_, from, err := packets.ReadFromUDPAddrPort(data)
		if err != nil {
			// On Linux a socket that is not connected is not told of ICMP errors: this one is the end.
			return err
		}
		reply := func() { packets.WriteToUDPAddrPort([]byte(one.answer(from)), from) }
		if one.slow > 0 {
			time.AfterFunc(one.slow, reply)
		} else {
			reply()
		}
	}
}
