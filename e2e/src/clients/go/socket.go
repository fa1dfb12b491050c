// SPDX-License-Identifier: Apache-2.0
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

// Sockets by system calls alone: what is measured is connect() itself, not the scheduler of package net.

var errNoAnswer = errors.New("no answer in time")

const (
	pollIn  = 0x1
	pollOut = 0x4
)

// target is where to go, in the family of the socket that goes there.
type target struct {
	family  int
	address syscall.Sockaddr
}

// targetOf finds a host's address. Families: "auto" (that of the address), "4", "6", and "mapped", which is an IPv6
// socket that is given an IPv4 address.
func targetOf(host, port, family string) (target, error) {
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return target{}, fmt.Errorf("port %q is not a number from 1 to 65535", port)
	}
	found, err := addressesOf(host)
	if err != nil {
		return target{}, err
	}
	for _, address := range found {
		if family == "auto" || (family == "6") == address.Is6() {
			return targetAt(address, int(number), family), nil
		}
	}
	return target{}, fmt.Errorf("%s has no address for a socket of family %s", host, family)
}

func addressesOf(host string) ([]netip.Addr, error) {
	if literal, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{literal.Unmap()}, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	for index := range found {
		found[index] = found[index].Unmap()
	}
	return found, err
}

func targetAt(address netip.Addr, port int, family string) target {
	if address.Is4() && family != "mapped" {
		return target{syscall.AF_INET, &syscall.SockaddrInet4{Port: port, Addr: address.As4()}}
	}
	return target{syscall.AF_INET6, &syscall.SockaddrInet6{Port: port, Addr: address.As16()}}
}

func openSocket(family, kind int) (int, error) {
	return syscall.Socket(family, kind|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
}

// connectBy returns when the connection is established, or has failed.
func connectBy(descriptor int, to syscall.Sockaddr, deadline time.Time) error {
	err := syscall.Connect(descriptor, to)
	if err != syscall.EINPROGRESS {
		return err
	}
	if err := await(descriptor, pollOut, deadline); err != nil {
		return err
	}
	code, err := syscall.GetsockoptInt(descriptor, syscall.SOL_SOCKET, syscall.SO_ERROR)
	if err != nil {
		return err
	}
	if code != 0 {
		return syscall.Errno(code)
	}
	return nil
}

// receiveBy returns what one recvfrom() gives, and whose it is where the socket is not connected.
func receiveBy(descriptor int, data []byte, deadline time.Time) (int, syscall.Sockaddr, error) {
	for {
		if err := await(descriptor, pollIn, deadline); err != nil {
			return 0, nil, err
		}
		length, from, err := syscall.Recvfrom(descriptor, data, 0)
		if err == syscall.EAGAIN || err == syscall.EINTR {
			continue
		}
		return length, from, err
	}
}

func await(descriptor int, events int16, deadline time.Time) error {
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return errNoAnswer
		}
		poll := struct {
			descriptor      int32
			events, revents int16
		}{int32(descriptor), events, 0}
		timeout := syscall.NsecToTimespec(left.Nanoseconds())
		count, _, code := syscall.Syscall6(
			syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&poll)), 1, uintptr(unsafe.Pointer(&timeout)), 0, 0, 0)
		if code == syscall.EINTR {
			continue
		}
		if code != 0 {
			return code
		}
		if count > 0 {
			return nil
		}
	}
}

// text of an address as the kernel gives it: a mapped one stays mapped.
func text(address syscall.Sockaddr, err error) string {
	switch known := address.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(known.Addr), uint16(known.Port)).String()
	case *syscall.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(known.Addr), uint16(known.Port)).String()
	}
	if err != nil {
		return "unknown: " + err.Error()
	}
	return ""
}
