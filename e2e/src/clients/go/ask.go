// SPDX-License-Identifier: Apache-2.0
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"time"
)

// ask is an ordinary Go client: names are resolved for each connection, by Go's own resolver, and whatever package net
// does with several addresses (happy eyeballs) it does here.
func ask(arguments []string) error {
	flags := flag.NewFlagSet("ask", flag.ExitOnError)
	count := flags.Int("count", 1, "how many connections, one after the other")
	protocol := flags.String("protocol", "tcp", "tcp, tcp4, tcp6, udp, udp4, udp6 or http")
	timeout := flags.Duration("timeout", 5*time.Second, "of all of one")
	flags.Parse(arguments)
	host, port, err := place(flags)
	if err != nil {
		return err
	}
	address := net.JoinHostPort(host, port)
	failed := 0
	for number := 0; number < *count; number++ {
		begin := time.Now()
		result := attempt{At: wall(begin)}
		var answer string
		if *protocol == "http" {
			answer, err = askHTTP(&result, "http://"+address+"/", *timeout)
		} else {
			answer, err = askDialled(&result, *protocol, address, *timeout)
		}
		result.Ms = milliseconds(time.Since(begin))
		result.Name, result.Seen = nameIn(answer)
		if err == nil && result.Name == "" {
			err = fmt.Errorf("the answer was %q", answer)
		}
		if err != nil {
			failed++
			result.Error = err.Error()
		}
		say(result)
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d failed", failed, *count)
	}
	return nil
}

func askDialled(result *attempt, network, address string, timeout time.Duration) (string, error) {
	begin := time.Now()
	connection, err := net.DialTimeout(network, address, timeout)
	result.ConnectMs = milliseconds(time.Since(begin))
	if err != nil {
		return "", err
	}
	defer connection.Close()
	result.Peer, result.Local = connection.RemoteAddr().String(), connection.LocalAddr().String()
	if err := connection.SetDeadline(begin.Add(timeout)); err != nil {
		return "", err
	}
	if _, err := connection.Write(question); err != nil {
		return "", err
	}
	return bufio.NewReader(connection).ReadString('\n')
}

func askHTTP(result *attempt, url string, timeout time.Duration) (string, error) {
	begin := time.Now()
	client := http.Client{Timeout: timeout, Transport: &http.Transport{DisableKeepAlives: true}}
	traced := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		GotConn: func(got httptrace.GotConnInfo) {
			result.ConnectMs = milliseconds(time.Since(begin))
			result.Peer, result.Local = got.Conn.RemoteAddr().String(), got.Conn.LocalAddr().String()
		},
	})
	request, err := http.NewRequestWithContext(traced, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	return string(body), err
}
