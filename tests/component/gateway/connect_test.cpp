// Connecting: names that do not resolve or do so slowly, addresses that refuse or swallow, ourselves; and the
// limits of a connection's two directions.
#include "net/loop.hpp"
#include "net/resolver.hpp"
#include "net/stream.hpp"
#include "support/scripted_upstream.hpp"
#include "support/sockets.hpp"
#include "upstream/pool.hpp"

#include <boost/asio/error.hpp>
#include <gmock/gmock.h>

#include <array>
#include <memory>
#include <sys/eventfd.h>
#include <unistd.h>
#include <vector>

namespace gw::test {
namespace {

using namespace std::chrono_literals;
using net::asio::ip::make_address;
using testing::ElementsAre;

constexpr std::string_view name = "model.example";

// Runs one coroutine on the loop of this thread to its end.
template <class T>
T run(net::loop& on, net::task<T> work)
{
    std::optional<T> got;
    // NOLINTNEXTLINE: everything outlives the coroutine, which ends before run() returns
    net::spawn(
        [](net::task<T> inner, std::optional<T>& into) -> net::task<void> {
            into.emplace(co_await inner);
        }(std::move(work), got),
        [&on](const std::exception_ptr&) { on.stop(); }
    );
    on.run();
    return std::move(*got);
}

TEST(Names, FamiliesTakeTurnsAndTheOneThatWorkedGoesFirst)
{
    const auto v4 = [](int last) { return make_address("10.0.0." + std::to_string(last)); };
    const auto v6 = [](int last) { return make_address("fd00::" + std::to_string(last)); };
    EXPECT_THAT(
        net::in_turn({v6(1), v6(2), v6(3), v4(1), v4(2)}, nullptr),
        ElementsAre(v6(1), v4(1), v6(2), v4(2), v6(3))
    );
    EXPECT_THAT(net::in_turn({v4(1), v4(2)}, nullptr), ElementsAre(v4(1), v4(2)));
    const auto worked = v4(2);
    EXPECT_THAT(net::in_turn({v6(1), v6(2), v4(1), v4(2)}, &worked), ElementsAre(v4(2), v6(1), v4(1), v6(2)));
    const auto gone = v4(9);
    EXPECT_THAT(net::in_turn({v4(1)}, &gone), ElementsAre(v4(1)));
    EXPECT_THAT(net::in_turn({}, &gone), ElementsAre());
}

// ---- addresses ----

// Listens on 127.0.0.LAST:PORT; port 0 picks one.
std::pair<socket_fd, std::uint16_t> listen_on(int last, std::uint16_t port, int backlog)
{
    socket_fd made(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int on = 1;
    ::setsockopt(made.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in at = loopback(port);
    at.sin_addr.s_addr = htonl(0x7F000000U + static_cast<unsigned>(last));
    if (::bind(made.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) != 0) { // NOLINT: the C API's way
        return {socket_fd(), std::uint16_t{0}};
    }
    ::listen(made.get(), backlog);
    socklen_t size = sizeof at;
    ::getsockname(made.get(), reinterpret_cast<sockaddr*>(&at), &size); // NOLINT: the C API's way
    return {std::move(made), ntohs(at.sin_port)};
}

// An address that swallows: its queue is full, so the kernel drops what knocks.
struct black_hole
{
    explicit black_hole(int last)
    {
        std::tie(listener, port) = listen_on(last, 0, 0);
        sockaddr_in at = loopback(port);
        at.sin_addr.s_addr = htonl(0x7F000000U + static_cast<unsigned>(last));
        for (int i = 0; i < 8; ++i) {
            auto& each =
                knocking.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
            std::ignore =
                ::connect(each.get(), reinterpret_cast<sockaddr*>(&at), sizeof at); // NOLINT: the C API's way
        }
    }
    socket_fd listener;
    std::uint16_t port = 0;
    std::vector<socket_fd> knocking;
};

upstream::peer peer_on(std::uint16_t port)
{
    upstream::peer made;
    made.key = "http://" + std::string(name) + ":" + std::to_string(port);
    made.host = name;
    made.port = port;
    return made;
}

net::resolver::lookup_fn always(net::addresses all)
{
    return [all = std::move(all)](const std::string&) -> result<net::addresses> { return all; };
}

TEST(Addresses, TheNextOneWhenTheFirstRefuses)
{
    const auto [listener, port] = listen_on(2, 0, 16);
    net::loop on;
    net::resolver of(always({make_address("127.0.0.1"), make_address("127.0.0.2")}));
    upstream::pool lent(on, of);
    net::interrupt stop;
    auto got = run(on, lent.borrow(peer_on(port), net::clock::now() + 20s, stop));
    ASSERT_TRUE(got.has_value()) << got.error().text;
    EXPECT_EQ((*got)->wire.remote(), "127.0.0.2");
}

TEST(Addresses, OneThatSwallowsHasItsShareOfTheTimeOnly)
{
    const black_hole first(1);
    const auto [listener, port] = listen_on(2, first.port, 16);
    ASSERT_TRUE(listener.open());
    net::loop on;
    net::resolver of(always({make_address("127.0.0.1"), make_address("127.0.0.2")}));
    upstream::pool lent(on, of);
    net::interrupt stop;
    {
        auto got = run(on, lent.borrow(peer_on(port), net::clock::now() + 4s, stop));
        ASSERT_TRUE(got.has_value()) << got.error().text;
        EXPECT_EQ((*got)->wire.remote(), "127.0.0.2");
    }
    // The one that worked is asked first from here on.
    const auto began = net::clock::now();
    auto again = run(on, lent.borrow(peer_on(port), net::clock::now() + 4s, stop));
    ASSERT_TRUE(again.has_value()) << again.error().text;
    EXPECT_LT(net::clock::now() - began, 1900ms) << "less than the first one's share";
}

TEST(Addresses, AllSwallow)
{
    const black_hole only(1);
    net::loop on;
    net::resolver of(always({make_address("127.0.0.1"), make_address("127.0.0.1")}));
    upstream::pool lent(on, of);
    net::interrupt stop;
    const auto began = net::clock::now();
    auto got = run(on, lent.borrow(peer_on(only.port), began + 600ms, stop));
    ASSERT_FALSE(got.has_value());
    EXPECT_EQ(got.error().what, code::timeout);
    EXPECT_EQ(got.error().again, retry::safe);
    EXPECT_LT(net::clock::now() - began, 12s);
}

TEST(Addresses, OurselvesIsNobody)
{
    const auto port = refusing_port();
    net::loop on;
    // The end that the kernel could pick: both ends are this one.
    net::descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const int yes = 1;
    ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    const sockaddr_in at = loopback(port);
    ASSERT_EQ(
        ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at), 0
    ); // NOLINT: the C API's way
    net::stream wire(on, std::move(socket));
    const auto ec = run(on, wire.connect({make_address("127.0.0.1"), port}));
    EXPECT_EQ(ec, net::asio::error::connection_refused);
}

// ---- the limits of a connection ----

// A stream that is connected to a socket of the test, both with small buffers.
struct pair
{
    net::loop on;
    net::stream wire{on};
    socket_fd peer;

    pair()
    {
        auto [listener, port] = listen_somewhere();
        const int small = 4096;
        ::setsockopt(listener.get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        EXPECT_FALSE(run(on, wire.connect({make_address("127.0.0.1"), port})));
        ::setsockopt(wire.native_handle(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
        peer = socket_fd(::accept(listener.get(), nullptr, nullptr));
    }
};

struct read_op : net::io_op
{
    bool over = false;
    bool stops = false; // the loop
    std::string bytes;
    explicit read_op(net::stream& from) : from_(from)
    {
        complete = [](net::io_op& self) {
            auto& me = static_cast<read_op&>(self);
            me.over = true;
            me.bytes.assign(me.from_.on().scratch(), self.n);
            if (me.stops) {
                me.from_.on().stop();
            }
        };
    }

private:
    net::stream& from_;
};

constexpr std::size_t much = 4 << 20;

TEST(Limits, AReadThatTimesOutLeavesTheWriteAlone)
{
    pair two;
    read_op read(two.wire);
    two.wire.start_read(16, read);
    two.wire.read_until(net::clock::now() + 50ms);
    // The peer begins to take what is written when the read is over.
    std::size_t taken = 0;
    two.on.each_tick([&](net::time_point) {
        while (read.over) {
            const auto got = two.peer.receive(0ms);
            if (!got) {
                break;
            }
            taken += got->size();
        }
    });
    const std::string bytes(much, 'x');
    const std::array out{net::asio::buffer(bytes)};
    const std::array<net::asio::const_buffer, 1> whole{out[0]};
    const auto ec = run(two.on, two.wire.write(whole, 20s));
    EXPECT_FALSE(ec) << ec.message();
    EXPECT_EQ(read.ec, net::asio::error::operation_aborted);
    EXPECT_TRUE(two.wire.read_timed_out());
}

TEST(Limits, AWriteThatTimesOutLeavesTheReadAlone)
{
    pair two;
    read_op read(two.wire);
    two.wire.start_read(16, read);
    const std::string bytes(much, 'x');
    const std::array<net::asio::const_buffer, 1> whole{net::asio::buffer(bytes)};
    const auto ec = run(two.on, two.wire.write(whole, 50ms));
    EXPECT_EQ(ec, net::asio::error::timed_out);
    EXPECT_FALSE(read.over);
    two.peer.send("hello");
    two.on.each_tick([&](net::time_point) {
        if (read.over) {
            two.on.stop();
        }
    });
    two.on.run();
    EXPECT_EQ(read.bytes, "hello");
    EXPECT_FALSE(read.ec);
}

TEST(Limits, APeerThatTakesALittleAtATimeIsNotStalled)
{
    pair two;
    std::size_t taken = 0;
    two.on.each_tick([&](net::time_point) { // less often than the limit would last for the whole
        if (const auto got = two.peer.receive(0ms)) {
            taken += got->size();
        }
    });
    const std::string bytes(400'000, 'x');
    const std::array<net::asio::const_buffer, 1> whole{net::asio::buffer(bytes)};
    const auto began = net::clock::now();
    const auto ec = run(two.on, two.wire.write(whole, 2s));
    EXPECT_FALSE(ec
    ) << ec.message()
      << " after " << taken << " bytes and "
      << std::chrono::duration_cast<std::chrono::milliseconds>(net::clock::now() - began).count() << " ms";
}

// ---- time ----

void until_behind(net::time_point when)
{
    while (std::chrono::steady_clock::now() <= when) {
    }
}

TEST(Clock, IsReadOnceAStepAndAnewInTheNextOne)
{
    net::loop on;
    net::time_point first;
    net::time_point same;
    net::time_point later;
    on.post([&] {
        first = net::clock::now();
        until_behind(first);
        same = net::clock::now();
        on.post([&] {
            later = net::clock::now();
            on.stop();
        });
    });
    on.run();
    EXPECT_EQ(same, first);
    EXPECT_GT(later, first);
    const auto outside = net::clock::now();
    EXPECT_GT(outside, later - 1ns);
    until_behind(outside);
    EXPECT_GT(net::clock::now(), outside) << "nobody begins a step here";
}

// ---- what lies behind the bytes ----

// Runs the loop until the read is over, or for five seconds.
void finish(pair& two, read_op& read)
{
    net::deadline limit(two.on.deadlines, &two.on, [](void* on) { static_cast<net::loop*>(on)->stop(); });
    limit.arm(net::clock::now() + 5s);
    read.stops = true;
    two.on.run();
}

// A read that brings less than would have fitted is not followed by a try, so an end that was there before
// the loop first looked must be known without one.
TEST(Reads, AnEndBehindTheBytesIsSeen)
{
    pair two;
    two.peer.send("hello");
    ::shutdown(two.peer.get(), SHUT_WR);
    read_op first(two.wire);
    two.wire.start_read(1000, first);
    finish(two, first);
    EXPECT_EQ(first.bytes, "hello");
    read_op second(two.wire);
    two.wire.start_read(1000, second);
    finish(two, second);
    EXPECT_EQ(second.ec, net::asio::error::eof);
}

TEST(Reads, AResetBehindTheBytesIsSeen)
{
    pair two;
    two.peer.send("hello");
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(two.peer.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    two.peer = socket_fd();
    read_op first(two.wire);
    two.wire.start_read(1000, first);
    finish(two, first);
    EXPECT_TRUE(first.over);
    if (!first.ec) { // else the kernel dropped the bytes
        read_op second(two.wire);
        two.wire.start_read(1000, second);
        finish(two, second);
        EXPECT_TRUE(second.over && second.ec);
    }
}

TEST(Reads, MoreThanWasAskedForIsReadOn)
{
    pair two;
    two.peer.send("0123456789");
    std::string all;
    for (int i = 0; i < 3; ++i) {
        read_op part(two.wire);
        two.wire.start_read(4, part);
        finish(two, part);
        ASSERT_TRUE(part.over && !part.ec);
        all += part.bytes + "|";
    }
    EXPECT_EQ(all, "0123|4567|89|");
    read_op rest(two.wire);
    two.wire.start_read(4, rest);
    two.peer.send("later");
    finish(two, rest);
    EXPECT_EQ(rest.bytes, "late");
}

// Two messages that came together are both worked on before either is written.
TEST(Loop, WhatIsReadyTogetherIsWorkedOnBeforeAnyOfItGoesOn)
{
    net::loop on;
    std::vector<std::string> done;
    const auto message = [&](std::string which) -> net::task<void> {
        done.push_back("work " + which);
        co_await on.turn();
        done.push_back("write " + which);
    };
    for (const char* each : {"a", "b"}) {
        on.post([&, each] { net::spawn(message(each), [](const std::exception_ptr&) {}); });
    }
    on.post([&] { on.post([&] { on.stop(); }); }); // behind the writes
    on.run();
    EXPECT_THAT(done, ElementsAre("work a", "work b", "write a", "write b"));
}

// Whoever changed the settings and then connects is served by the new ones.
TEST(Loop, WhatWasPostedComesBeforeWhatHappenedBehindIt)
{
    struct recorder final : net::watched
    {
        explicit recorder(std::string& said) : to(said) {}
        void ready(std::uint32_t) override { to += "ready "; }
        void due() override {}
        std::string& to;
    };
    net::loop on;
    std::string said;
    recorder reads(said);
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe(ends.data()), 0);
    ASSERT_FALSE(on.watch(ends[0], reads, EPOLLIN));
    on.post([&said] { said += "posted "; });
    ASSERT_EQ(::write(ends[1], "x", 1), 1);
    on.post([&on] { on.stop(); });
    on.run();
    EXPECT_EQ(said, "posted ready ");
    on.forget(reads);
    on.unwatch(ends[0]);
    ::close(ends[0]);
    ::close(ends[1]);
}

// More happened than one look tells: what is not told yet may be the end of a kept connection.
TEST(Loop, HasLookedOnlyOnceAllIsTold)
{
    static constexpr std::size_t many = 300;
    struct counter final : net::watched
    {
        explicit counter(std::size_t& said) : told(said) {}
        void ready(std::uint32_t) override { ++told; }
        void due() override {}
        std::size_t& told;
    };
    net::loop on;
    std::size_t told = 0;
    std::vector<net::descriptor> open;
    std::vector<std::unique_ptr<counter>> all;
    for (std::size_t i = 0; i < many; ++i) {
        open.emplace_back(::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK)); // readable from the beginning
        all.push_back(std::make_unique<counter>(told));
        ASSERT_FALSE(on.watch(open.back().get(), *all.back(), EPOLLIN));
    }
    const auto before = net::clock::now();
    std::size_t at_first_look = 0;
    const auto look = [&](auto&& again) -> void {
        if (on.looked() >= before) {
            at_first_look = told;
            on.stop();
        } else {
            on.post([&, again] { again(again); });
        }
    };
    on.post([&] { look(look); });
    on.run();
    EXPECT_EQ(at_first_look, many);
    for (std::size_t i = 0; i < many; ++i) {
        on.forget(*all[i]);
        on.unwatch(open[i].get());
    }
}

} // namespace
} // namespace gw::test
