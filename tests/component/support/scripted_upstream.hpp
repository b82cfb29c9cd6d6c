// An upstream that does exactly what a test says, byte by byte: a function from the bytes received so far to
// what to send and what to do then. It counts connections and keeps every request.
#pragma once

#include "support/sockets.hpp"

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace gw::test {

enum class then { read_on, keep_open, close, reset, stall };

struct scripted
{
    std::string send;
    then next = then::read_on;
};

class scripted_upstream
{
public:
    // `bytes`: what this connection has received since its last answer; `number`: of the connection, from 1.
    using script = std::function<scripted(const std::string& bytes, int number)>;

    explicit scripted_upstream(script what) : script_(std::move(what))
    {
        auto [fd, port] = listen_somewhere();
        listener_ = std::move(fd);
        port_ = port;
        acceptor_ = std::thread([this] { accept(); });
    }
    ~scripted_upstream()
    {
        stopping_ = true;
        ::shutdown(listener_.get(), SHUT_RDWR);
        acceptor_.join();
        for (auto& each : threads_) {
            each.join();
        }
    }
    scripted_upstream(const scripted_upstream&) = delete;
    scripted_upstream& operator=(const scripted_upstream&) = delete;

    [[nodiscard]] std::uint16_t port() const { return port_; }
    [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
    [[nodiscard]] int connections() const { return connections_; }
    [[nodiscard]] int closed_by_gateway() const { return closed_; }
    void change(script what)
    {
        const std::lock_guard lock(guard_);
        script_ = std::move(what);
    }
    // Everything that arrived and was answered, one string a request.
    [[nodiscard]] std::vector<std::string> requests() const
    {
        const std::lock_guard lock(guard_);
        return requests_;
    }
    // What the connections received that was not answered (yet).
    [[nodiscard]] std::string pending() const
    {
        const std::lock_guard lock(guard_);
        return pending_;
    }

    // The request in `bytes` is whole (head and a body of Content-Length).
    static bool whole(const std::string& bytes)
    {
        const auto end = bytes.find("\r\n\r\n");
        if (end == std::string::npos) {
            return false;
        }
        const auto at = bytes.find("content-length: ");
        const std::size_t size = at == std::string::npos ? 0 : std::stoul(bytes.substr(at + 16));
        return bytes.size() >= end + 4 + size;
    }
    static std::string body_of(const std::string& bytes) { return bytes.substr(bytes.find("\r\n\r\n") + 4); }
    static std::string json(const std::string& body, int status = 200, const std::string& fields = "")
    {
        return "HTTP/1.1 " + std::to_string(status) +
               " X\r\ncontent-type: application/json\r\ncontent-length: " + std::to_string(body.size()) +
               "\r\n" + fields + "\r\n" + body;
    }
    // Answers every whole request with `answer`.
    static script always(const std::string& answer, then next = then::read_on)
    {
        return [answer, next](const std::string& bytes, int) {
            return whole(bytes) ? scripted{answer, next} : scripted{};
        };
    }

private:
    void accept()
    {
        while (!stopping_) {
            const int fd = ::accept(listener_.get(), nullptr, nullptr);
            if (fd < 0) {
                return;
            }
            const int number = ++connections_;
            threads_.emplace_back([this, fd, number] { serve(socket_fd(fd), number); });
        }
    }
    void serve(socket_fd fd, int number)
    {
        std::string bytes;
        while (!stopping_) {
            const auto more = fd.receive(std::chrono::milliseconds(50));
            if (!more) {
                continue;
            }
            if (more->empty()) {
                ++closed_;
                return;
            }
            bytes += *more;
            scripted what;
            {
                const std::lock_guard lock(guard_);
                pending_ = bytes;
            }
            {
                script now;
                {
                    const std::lock_guard lock(guard_);
                    now = script_;
                }
                what = now(bytes, number);
            }
            if (what.send.empty() && what.next == then::read_on) {
                continue;
            }
            {
                const std::lock_guard lock(guard_);
                requests_.push_back(bytes);
                pending_.clear();
            }
            bytes.clear();
            fd.send(what.send);
            switch (what.next) {
            case then::read_on:
            case then::keep_open:
            case then::stall:
                break;
            case then::close:
                return;
            case then::reset:
                fd.reset();
                return;
            }
        }
    }

    script script_;
    socket_fd listener_;
    std::uint16_t port_ = 0;
    std::atomic<bool> stopping_ = false;
    std::atomic<int> connections_ = 0;
    std::atomic<int> closed_ = 0;
    mutable std::mutex guard_;
    std::vector<std::string> requests_;
    std::string pending_;
    std::thread acceptor_;
    std::vector<std::thread> threads_; // appended by the accepting thread only
};

} // namespace gw::test
