// The admin listener when every descriptor of the process is taken.
#include "runtime/admin.hpp"
#include "runtime/listener.hpp"
#include "support/sockets.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

namespace gw::runtime {
namespace {

using test::socket_fd;

#if defined(__has_feature)
#if __has_feature(undefined_behavior_sanitizer)
#define GW_NEEDS_PIPES // to look at an object's type, which it takes for wrong when it cannot open one
#endif
#endif

// Takes every descriptor that is free.
class taker
{
public:
    taker()
    {
        ::getrlimit(RLIMIT_NOFILE, &before_);
        const socket_fd lowest(::open("/dev/null", O_RDONLY | O_CLOEXEC));
        rlimit few = before_;
        few.rlim_cur = std::min<rlim_t>(few.rlim_cur, static_cast<rlim_t>(lowest.get()) + 32);
        ::setrlimit(RLIMIT_NOFILE, &few);
    }
    ~taker() { ::setrlimit(RLIMIT_NOFILE, &before_); }
    taker(const taker&) = delete;
    taker& operator=(const taker&) = delete;

    // How many these were.
    std::size_t take()
    {
        const std::size_t had = held_.size();
        while (true) {
            socket_fd one(::open("/dev/null", O_RDONLY | O_CLOEXEC));
            if (!one.open()) {
                return held_.size() - had;
            }
            held_.push_back(std::move(one));
        }
    }
    void give() { held_.clear(); }

private:
    rlimit before_{};
    std::vector<socket_fd> held_;
};

TEST(Descriptors, AdminAnswersOnThoseItHoldsBackAndLeavesNoneToOthers)
{
#ifdef GW_NEEDS_PIPES
    GTEST_SKIP() << "the sanitizer needs descriptors of its own";
#endif
    net::asio::io_context control{1};
    auto bound = bind_first({.host = "127.0.0.1", .port = 0});
    ASSERT_TRUE(bound.has_value());
    const auto settings = std::make_shared<const config::settings>();
    admin here(
        net::tcp_acceptor(control, bound->at.protocol(), bound->socket.release()),
        {.ready = [] { return true; },
         .metrics = [] { return std::string(); },
         .workers = [] { return std::string(); },
         .reload = [] { return std::pair(true, std::string()); },
         .now = [&settings] { return settings; }}
    );
    here.start();
    std::vector<socket_fd> clients;
    for (int i = 0; i < 12; ++i) { // more than it holds back
        clients.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    }
    taker cores;
    ASSERT_GT(cores.take(), 0U);

    sockaddr_in at = test::loopback(bound->at.port());
    for (auto& each : clients) {
        ASSERT_EQ(::connect(each.get(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0); // NOLINT: C
        ASSERT_TRUE(each.send("GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
        std::string told;
        ASSERT_TRUE(test::eventually([&] {
            control.poll();
            const auto part = each.receive(std::chrono::milliseconds(0));
            told += part.value_or("");
            return part && part->empty();
        })) << "it does not answer any more";
        EXPECT_TRUE(told.starts_with("HTTP/1.1 200 ")) << told;
        EXPECT_EQ(cores.take(), 0U) << "a client or an upstream took what its connection left";
    }
    cores.give();
    here.stop();
    control.poll();
}

TEST(Descriptors, WhatIsNotMissingIsClosed)
{
    spare_descriptors spare;
    auto [listens, port] = test::listen_somewhere();
    const socket_fd client = test::connect_to(port);
    spare.keep(::accept4(listens.get(), nullptr, nullptr, SOCK_CLOEXEC));
    EXPECT_EQ(client.receive(), "");
}

} // namespace
} // namespace gw::runtime
