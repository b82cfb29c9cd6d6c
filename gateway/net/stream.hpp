// One connection, plain or TLS, on either side. Owned by a session (client) or a connection (upstream);
// pinned in memory; used on its core's thread only. One read and one write may be outstanding at the same
// time. Nothing here decides: it moves bytes, and a deadline or a cancel() ends what is outstanding.
#pragma once

#include "net/asio.hpp"
#include "net/descriptor.hpp"
#include "net/loop.hpp"
#include "net/task.hpp"
#include "net/tls_link.hpp"

#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace boost::asio::ssl {
class context;
}

namespace gw::net {

struct io_result
{
    error_code ec;
    std::size_t n = 0;
};

// The process, or the machine, has as many open files as it may have.
[[nodiscard]] bool no_descriptors(const error_code& ec);

// An operation in progress: `complete` is called once, from the event loop.
struct io_op
{
    error_code ec;
    std::size_t n = 0;
    void (*complete)(io_op& self) = nullptr;
};

// Resumes a coroutine when it completes.
struct io_await : io_op
{
    std::coroutine_handle<> who;
    io_await()
    {
        complete = [](io_op& self) { static_cast<io_await&>(self).who.resume(); };
    }
    io_result await_resume() const noexcept { return {ec, n}; }
};

class stream final : private watched
{
public:
    explicit stream(loop& on, descriptor socket = {}); // the socket does not block
    ~stream();
    stream(const stream&) = delete;
    stream& operator=(const stream&) = delete;

    // Starts a read of at most `size` bytes: `op.complete` is called when some lie in the loop's scratch
    // block (or where `into` says), or with an end of file (ec = asio::error::eof) or an error. So nothing
    // holds memory while it waits. REQUIRES no other read is outstanding; op and `into` live until then.
    void start_read(std::size_t size, io_op& op, char* into = nullptr);

    // Writes everything. Plain sockets try at once and wait only for what the kernel did not take. A `stall`
    // above 0 limits each wait: a peer that takes nothing for so long ends it (timed_out), a slow one does
    // not.
    [[nodiscard]] task<error_code>
    write(std::span<const asio::const_buffer> buffers, std::chrono::milliseconds stall = {});
    // The try without a coroutine: the number of bytes taken, at once. What was not has to be written next,
    // as it is. For the hot path.
    [[nodiscard]] std::size_t try_write(std::span<const asio::const_buffer> buffers, error_code& ec);

    [[nodiscard]] task<error_code> connect(const tcp::endpoint& to);
    // Turns this connection into TLS. The context outlives the stream. Client: SNI, and the certificate is
    // checked against `host`, a name or an address; why() says what is wrong with it.
    [[nodiscard]] task<error_code> handshake_client(asio::ssl::context& with, const std::string& host);
    [[nodiscard]] task<error_code> handshake_server(asio::ssl::context& with);

    // Limits for the read and for the write that are outstanding, absolute; `never` disarms. What ran out
    // completes with asio::error::timed_out; the other direction does not notice. Connecting and handshakes
    // count as writes.
    void read_until(time_point when) { read_deadline_.arm(when); }
    void write_until(time_point when) { write_deadline_.arm(when); }
    [[nodiscard]] bool read_timed_out() const { return read_timed_out_; }

    void cancel(); // what is outstanding completes with operation_aborted
    // FIN, and reads go on. With TLS a close_notify goes before it, within write_until(): only if what was
    // sent is whole, since a peer takes an end without one for a cut. Once. REQUIRES no write is outstanding,
    // none follows.
    enum class ending : std::uint8_t { whole, cut };
    [[nodiscard]] task<void> end_send(ending how);
    void close(); // now
    void reset(); // RST instead of FIN: the peer sees that what it got is not the whole
    [[nodiscard]] bool is_open() const { return socket_.is_open(); }
    // The address of the peer, without port; of an IPv6 one the network (/64), since one machine may have it
    // all. Empty: it is gone.
    [[nodiscard]] std::string remote() const;
    [[nodiscard]] bool is_tls() const { return tls_ != nullptr; }
    // The loop told of something that was not read yet: bytes, or the end.
    [[nodiscard]] bool readable() const { return state_.readable; }
    // Nothing has arrived and the peer has not closed, as far as the kernel knows now (one system call).
    [[nodiscard]] bool silent() const;
    [[nodiscard]] int native_handle() const { return socket_.get(); }
    [[nodiscard]] loop& on() { return on_; }
    [[nodiscard]] const std::string& why() const { return why_; } // the last TLS failure in words

private:
    struct write_wait;

    void ready(std::uint32_t events) override;
    void due() override;
    [[nodiscard]] error_code watch(); // from now on the loop tells what the socket is ready for
    void finish_read(error_code ec, std::size_t n);
    void finish_write(error_code ec);
    void try_read();
    void stop_read();
    void stop_write();
    [[nodiscard]] error_code over(error_code ec); // how a wait of a write ended
    void limit_wait();
    [[nodiscard]] task<error_code> handshake(bool as_server);
    [[nodiscard]] int unsent() const; // bytes that the other side's kernel has not acknowledged
    static void read_expired(void* self);
    static void write_expired(void* self);

    loop& on_;
    descriptor socket_;
    socket_state state_;
    std::unique_ptr<tls_link> tls_;
    io_op* read_ = nullptr;     // outstanding
    io_op* write_ = nullptr;    // waits until something can be written
    char* read_into_ = nullptr; // null: the scratch block
    std::size_t read_size_ = 0;
    deadline read_deadline_;
    deadline write_deadline_;
    std::chrono::milliseconds stall_{}; // of the write that is outstanding; 0: it has a fixed end, or none
    int unsent_ = 0;                    // when its limit was set
    bool watched_ = false;
    bool stop_read_ = false;
    bool stop_write_ = false;
    bool write_waits_for_bytes_ = false; // a handshake
    bool read_waits_for_room_ = false;   // TLS answers while it reads
    bool read_timed_out_ = false;
    bool write_timed_out_ = false;
    bool cancelled_ = false;  // since the write began
    bool torn_ = false;       // a write broke off; with TLS nothing may follow it
    bool unfinished_ = false; // OpenSSL holds a record that the socket did not take yet
    bool ended_ = false;      // end_send() was called
    std::string why_;
};

} // namespace gw::net
