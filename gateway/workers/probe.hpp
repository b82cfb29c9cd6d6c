// Asks a worker once whether it is ready. On the supervisor's thread.
#pragma once

#include <boost/asio/io_context.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace gw::workers {

struct probe_answer
{
    enum class what : std::uint8_t {
        status,  // it answered: `status`
        refused, // nobody listens
        silent,  // no answer within the time
        broken,  // the connection ended, or what came is not HTTP/1
    };
    what is = what::silent;
    int status = 0;
};

// "answered 503", "refused the connection", ...
[[nodiscard]] std::string describe(const probe_answer& answer);

// The status of `HTTP/1.x NNN ...`, a line without its end; 0: it is something else (RFC 9112 section 4).
[[nodiscard]] int status_of_line(std::string_view line);

class probe
{
public:
    // GET `path` from 127.0.0.1:`port` on a connection of its own. `then` is called once, unless cancel()
    // comes before.
    static std::shared_ptr<probe> start(
        boost::asio::io_context& context,
        std::uint16_t port,
        const std::string& path,
        std::chrono::milliseconds time,
        std::function<void(const probe_answer&)> then
    );
    virtual ~probe() = default;
    virtual void cancel() = 0;
};

} // namespace gw::workers
