// The gateway in this process: everything but flags, signals and the admin listener, on port 0, and a client
// for it.
#pragma once

#include "config/load.hpp"
#include "dispatch/core.hpp"
#include "payload/spool.hpp"
#include "runtime/listener.hpp"
#include "support/sockets.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <future>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace gw::test {

struct answer
{
    int status = 0;
    std::string head;
    std::string body;
    bool whole = false;  // its framing was complete
    bool closed = false; // the gateway closed behind it
    [[nodiscard]] std::string field(const std::string& name) const
    {
        const auto at = head.find("\r\n" + name + ": ");
        if (at == std::string::npos) {
            return {};
        }
        const auto from = at + name.size() + 4;
        return head.substr(from, head.find("\r\n", from) - from);
    }
};

// One client connection.
class client
{
public:
    explicit client(std::uint16_t port) : fd_(connect_to(port)) {}
    bool send(std::string_view bytes) { return fd_.send(bytes); }
    void close() { fd_.close(); }
    socket_fd& fd() { return fd_; }

    // Reads one answer; 1xx are skipped.
    answer read()
    {
        answer made;
        std::size_t end = 0;
        while ((end = held_.find("\r\n\r\n")) == std::string::npos) {
            if (!more()) {
                made.closed = true;
                return made;
            }
        }
        made.head = held_.substr(0, end + 2);
        held_.erase(0, end + 4);
        made.status = std::stoi(made.head.substr(9, 3));
        if (made.status < 200) {
            return read();
        }
        if (made.field("transfer-encoding") == "chunked") {
            while (true) {
                std::size_t line = 0;
                while ((line = held_.find("\r\n")) == std::string::npos) {
                    if (!more()) {
                        made.closed = true;
                        return made;
                    }
                }
                const std::size_t size = std::stoul(held_.substr(0, line), nullptr, 16);
                while (held_.size() < line + 2 + size + 2) {
                    if (!more()) {
                        made.body += held_.substr(line + 2);
                        made.closed = true;
                        return made;
                    }
                }
                made.body += held_.substr(line + 2, size);
                held_.erase(0, line + 2 + size + 2);
                if (size == 0) {
                    made.whole = true;
                    return made;
                }
            }
        }
        const std::string length = made.field("content-length");
        const std::size_t size = length.empty() ? std::string::npos : std::stoul(length);
        while (held_.size() < size) {
            if (!more()) {
                made.closed = true;
                break;
            }
        }
        made.whole = held_.size() >= size || size == std::string::npos;
        made.body = held_.substr(0, size);
        held_.erase(0, made.body.size());
        return made;
    }
    // The gateway closes: nothing more comes.
    bool at_end()
    {
        const auto rest = fd_.receive();
        return !rest || rest->empty();
    }
    // Whatever came so far.
    std::string& held() { return held_; }
    bool more()
    {
        const auto bytes = fd_.receive();
        if (!bytes || bytes->empty()) {
            return false;
        }
        held_ += *bytes;
        return true;
    }

private:
    socket_fd fd_;
    std::string held_;
};

class gateway
{
public:
    explicit gateway(
        const std::string& policy,
        std::map<std::string, std::string> env = {},
        unsigned threads = 1,
        std::string spool = "/var/tmp",
        net::resolver::lookup_fn lookup = net::resolver::system_lookup
    )
        : records_(::open("/dev/null", O_WRONLY | O_CLOEXEC)), writer_(records_.get()),
          names_(std::move(lookup)), workers_([](auto, auto, const auto&) {}, "/proc/self/exe"),
          store_({.dir = std::move(spool)}), shared_{
                                                 .names = names_,
                                                 .store = store_,
                                                 .known = known,
                                                 .workers = workers_,
                                                 .records = writer_,
                                                 .version = "test"
                                             }
    {
        auto loaded = config::load_text(
            policy,
            "policy.yaml",
            [env = std::move(env)](std::string_view name) -> std::optional<std::string> {
                const auto at = env.find(std::string(name));
                return at == env.end() ? std::nullopt : std::optional(at->second);
            }
        );
        if (!loaded) {
            for (const auto& each : loaded.error()) {
                ADD_FAILURE() << config::to_string(each);
            }
            return;
        }
        auto snapshot = dispatch::make_snapshot(*loaded);
        for (unsigned i = 0; i < threads; ++i) {
            auto& one = units_.emplace_back(std::make_unique<unit>(shared_));
            one->core.now = *snapshot;
            auto bound = i == 0 ? runtime::bind_first({.host = "127.0.0.1", .port = 0})
                                : runtime::bind_next({net::asio::ip::make_address("127.0.0.1"), port_});
            port_ = bound->at.port();
            one->in = std::make_unique<runtime::listener>(one->core, std::move(bound->socket), 0);
        }
        for (auto& each : units_) {
            each->core.loop.each_tick([&core = each->core](net::time_point now) { core.pool.tick(now); });
            each->in->start();
            each->thread = std::thread([&each] { each->core.loop.run(); });
        }
    }
    ~gateway()
    {
        for (auto& each : units_) {
            each->core.loop.post([&mine = *each] {
                mine.core.draining = true;
                mine.in->drain([&mine] {
                    mine.core.pool.clear();
                    mine.core.loop.finish();
                });
                mine.in->abort();
            });
        }
        for (auto& each : units_) {
            each->thread.join();
            each->core.log.flush();
        }
    }
    gateway(const gateway&) = delete;
    gateway& operator=(const gateway&) = delete;

    [[nodiscard]] std::uint16_t port() const { return port_; }
    // The limit of a drain is over, and no core has been told yet.
    void cut() { shared_.cut = true; }
    // Kept upstream connections that idle, over all cores.
    [[nodiscard]] std::size_t idle_connections()
    {
        std::size_t sum = 0;
        for (auto& each : units_) {
            std::promise<std::size_t> count;
            each->core.loop.post([&] { count.set_value(each->core.pool.idle_count()); });
            sum += count.get_future().get();
        }
        return sum;
    }
    [[nodiscard]] client connect() const { return client(port_); }
    // One request on a connection of its own.
    [[nodiscard]] answer ask(std::string_view bytes) const
    {
        client one(port_);
        one.send(bytes);
        return one.read();
    }
    static std::string post(
        const std::string& path,
        const std::string& body,
        const std::string& fields = "content-type: application/json\r\n"
    )
    {
        return "POST " + path + " HTTP/1.1\r\nhost: 127.0.0.1\r\n" + fields +
               "content-length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
    }

private:
    struct unit
    {
        explicit unit(dispatch::process& shared) : core(shared) {}
        dispatch::core core;
        std::unique_ptr<runtime::listener> in;
        std::thread thread;
    };

    std::vector<std::unique_ptr<unit>>
        units_; // outlives the threads below: they post to its loops to the last
    socket_fd records_;
    telemetry::line_writer writer_;
    net::resolver names_;
    workers::supervisor workers_;
    payloads::spool store_;

public:
    dispatch::standing known;

private:
    dispatch::process shared_;
    std::uint16_t port_ = 0;
};

} // namespace gw::test
