// SPDX-License-Identifier: Apache-2.0

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketAddress;
import java.net.SocketTimeoutException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.channels.DatagramChannel;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.time.Duration;

/**
 * Asks replicas for their names, each time by a new connection, in one of the ways that Java has. One line of JSON for
 * each. Unless told otherwise (-Djava.net.preferIPv4Stack=true) Java opens IPv6 sockets for IPv4 addresses too.
 *
 * <p>usage: WhoClient WAY HOST PORT COUNT, where WAY is one of socket, channel, selector, http, datagram-socket,
 * datagram-channel
 */
public final class WhoClient {
    private static final int PATIENCE_MS = 5000;
    private static final byte[] QUESTION = "who\n".getBytes(StandardCharsets.US_ASCII);

    private interface Way {
        /** Takes down in `told` what it learns on its way, and returns the answer. */
        String ask(String host, int port, Told told) throws IOException, InterruptedException;
    }

    private static final class Told {
        SocketAddress peer;
        SocketAddress local;
    }

    private WhoClient() {}

    public static void main(String[] arguments) throws IOException, InterruptedException {
        if (arguments.length != 4) {
            System.err.println("usage: WhoClient WAY HOST PORT COUNT");
            System.exit(2);
        }
        Way way = wayOf(arguments[0]);
        int port = Integer.parseInt(arguments[2]);
        int count = Integer.parseInt(arguments[3]);
        for (int number = 0; number < count; number++) {
            Told told = new Told();
            long begin = System.nanoTime();
            String answer = way.ask(arguments[1], port, told);
            double ms = (System.nanoTime() - begin) / 1e6;
            if (answer == null) throw new IOException("closed without an answer");
            String[] words = answer.trim().split("\\s+");
            if (words.length != 2) throw new IOException("the answer was \"" + answer + "\"");
            System.out.printf(
                    java.util.Locale.ROOT,
                    "{\"name\":\"%s\",\"seen\":\"%s\",\"peer\":\"%s\",\"local\":\"%s\",\"ms\":%.3f}%n",
                    words[0], words[1], text(told.peer), text(told.local), ms);
        }
    }

    private static Way wayOf(String name) {
        switch (name) {
            case "socket":
                return WhoClient::bySocket;
            case "channel":
                return WhoClient::byChannel;
            case "selector":
                return WhoClient::bySelector;
            case "http":
                return WhoClient::byHttp;
            case "datagram-socket":
                return WhoClient::byDatagramSocket;
            case "datagram-channel":
                return WhoClient::byDatagramChannel;
            default:
                throw new IllegalArgumentException("no such way: " + name);
        }
    }

    /** The classic one, with a time limit: Java then connects without blocking, and polls. */
    private static String bySocket(String host, int port, Told told) throws IOException {
        try (Socket socket = new Socket()) {
            socket.setSoTimeout(PATIENCE_MS);
            socket.connect(new InetSocketAddress(host, port), PATIENCE_MS);
            told.peer = socket.getRemoteSocketAddress();
            told.local = socket.getLocalSocketAddress();
            socket.getOutputStream().write(QUESTION);
            return new BufferedReader(new InputStreamReader(socket.getInputStream(), StandardCharsets.US_ASCII))
                    .readLine();
        }
    }

    /** NIO, blocking. */
    private static String byChannel(String host, int port, Told told) throws IOException {
        try (SocketChannel channel = SocketChannel.open(new InetSocketAddress(host, port))) {
            told.peer = channel.getRemoteAddress();
            told.local = channel.getLocalAddress();
            channel.write(ByteBuffer.wrap(QUESTION));
            ByteBuffer data = ByteBuffer.allocate(512);
            while (!endsLine(data)) {
                if (channel.read(data) < 0) throw new IOException("closed without an answer");
            }
            return string(data);
        }
    }

    /** NIO with a selector, as servers that are clients of others do it (Netty and its like). */
    private static String bySelector(String host, int port, Told told) throws IOException {
        try (Selector selector = Selector.open();
                SocketChannel channel = SocketChannel.open()) {
            channel.configureBlocking(false);
            channel.connect(new InetSocketAddress(host, port));
            SelectionKey key = channel.register(selector, SelectionKey.OP_CONNECT);
            select(selector, "connect");
            if (!channel.finishConnect()) throw new IOException("connect: neither established nor failed");
            told.peer = channel.getRemoteAddress();
            told.local = channel.getLocalAddress();
            channel.write(ByteBuffer.wrap(QUESTION));
            key.interestOps(SelectionKey.OP_READ);
            ByteBuffer data = ByteBuffer.allocate(512);
            while (!endsLine(data)) {
                select(selector, "answer");
                if (channel.read(data) < 0) throw new IOException("closed without an answer");
            }
            return string(data);
        }
    }

    private static void select(Selector selector, String what) throws IOException {
        if (selector.select(PATIENCE_MS) == 0) throw new SocketTimeoutException(what + ": not in time");
        selector.selectedKeys().clear();
    }

    private static String byHttp(String host, int port, Told told) throws IOException, InterruptedException {
        String place = host.contains(":") ? "[" + host + "]" : host;
        HttpClient client = HttpClient.newBuilder()
                .version(HttpClient.Version.HTTP_1_1)
                .connectTimeout(Duration.ofMillis(PATIENCE_MS))
                .build();
        HttpRequest request = HttpRequest.newBuilder(URI.create("http://" + place + ":" + port + "/"))
                .timeout(Duration.ofMillis(PATIENCE_MS))
                .build();
        HttpResponse<String> response = client.send(request, HttpResponse.BodyHandlers.ofString());
        if (response.statusCode() != 200) throw new IOException("status " + response.statusCode());
        return response.body();
    }

    /** Not connected: the answer's sender is taken from the datagram. */
    private static String byDatagramSocket(String host, int port, Told told) throws IOException {
        try (DatagramSocket socket = new DatagramSocket()) {
            socket.setSoTimeout(PATIENCE_MS);
            socket.send(new DatagramPacket(QUESTION, QUESTION.length, new InetSocketAddress(host, port)));
            DatagramPacket answer = new DatagramPacket(new byte[512], 512);
            socket.receive(answer);
            told.peer = answer.getSocketAddress();
            told.local = socket.getLocalSocketAddress();
            return new String(answer.getData(), 0, answer.getLength(), StandardCharsets.US_ASCII);
        }
    }

    /** Connected: the kernel takes datagrams of that peer only. */
    private static String byDatagramChannel(String host, int port, Told told) throws IOException {
        try (Selector selector = Selector.open();
                DatagramChannel channel = DatagramChannel.open()) {
            channel.connect(new InetSocketAddress(host, port));
            told.peer = channel.getRemoteAddress();
            told.local = channel.getLocalAddress();
            channel.configureBlocking(false);
            channel.register(selector, SelectionKey.OP_READ);
            channel.write(ByteBuffer.wrap(QUESTION));
            select(selector, "answer");
            ByteBuffer data = ByteBuffer.allocate(512);
            channel.read(data);
            return string(data);
        }
    }

    private static boolean endsLine(ByteBuffer data) {
        return data.position() > 0 && data.get(data.position() - 1) == '\n';
    }

    private static String string(ByteBuffer data) {
        return new String(data.array(), 0, data.position(), StandardCharsets.US_ASCII);
    }

    /** As ADDRESS:PORT, without the name that Java remembers; empty where it is not known. */
    private static String text(SocketAddress address) {
        if (!(address instanceof InetSocketAddress)) return "";
        InetSocketAddress known = (InetSocketAddress) address;
        String host = known.getAddress().getHostAddress();
        return (host.contains(":") ? "[" + host + "]" : host) + ":" + known.getPort();
    }
}
