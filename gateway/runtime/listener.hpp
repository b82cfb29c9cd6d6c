// Accepts client connections on one core and starts their sessions. One per core and listen address, used on
// that core's thread. Over `limits.connections` a connection gets an answer that says so; when many are being
// told that, it stops accepting for a moment: what waits, waits in the kernel's backlog.
#pragma once

#include "config/settings.hpp"
#include "dispatch/core.hpp"
#include "ingress/session.hpp"
#include "net/asio.hpp"
#include "net/descriptor.hpp"
#include "net/loop.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace gw::runtime {

struct bound
{
    net::descriptor socket; // listens; does not block
    net::tcp::endpoint at;
};
// Binds and listens. The first socket of an address takes it alone, so a second instance is refused, and then
// lets those of the other cores join (SO_REUSEPORT).
//   port      0 picks a free one
//   errors    internal; text names the address and the reason
[[nodiscard]] result<bound> bind_first(const config::address& at);
[[nodiscard]] result<bound> bind_next(const net::tcp::endpoint& at);

class listener final : private net::watched
{
public:
    listener(dispatch::core& here, net::descriptor socket, std::size_t position);
    ~listener();
    listener(const listener&) = delete;
    listener& operator=(const listener&) = delete;

    void start();
    // Takes no new connection, accepts what is queued or half open already, then closes; sessions end when
    // they idle. `done` is called when none is left.
    void drain(std::function<void()> done);
    void abort(); // after drain(): ends what is left now, each session with its last words
    [[nodiscard]] std::size_t open() const { return open_; }

private:
    void ready(std::uint32_t events) override;
    void due() override;
    void accept(); // soon, if it may
    void take_some();
    void take(net::descriptor socket);
    [[nodiscard]] static net::task<void> serve_one(std::unique_ptr<ingress::session> one);
    [[nodiscard]] net::task<void> turn_away(std::unique_ptr<ingress::session> one);
    void ended(bool admitted);
    void pause(int why);
    static void pause_over(void* self);
    void empty_queue();
    void close_acceptor();
    void tell_if_drained();

    dispatch::core& here_;
    net::descriptor socket_;
    net::deadline retry_;
    std::size_t position_; // in the settings' listen list: its TLS context
    std::size_t open_ = 0;
    std::size_t turned_away_ = 0; // of them: those that are told to go
    std::chrono::milliseconds pause_{};
    net::time_point tell_again_{}; // not each time
    bool told_ = false;
    bool paused_ = false;
    bool draining_ = false;
    ingress::session_list sessions_;
    std::function<void()> drained_;
};

} // namespace gw::runtime
