#include "workers/probe.hpp"

#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>

#include <algorithm>

namespace gw::workers {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr std::size_t longest_status_line = 1024;

class one_probe final : public probe, public std::enable_shared_from_this<one_probe>
{
public:
    one_probe(
        asio::io_context& context,
        std::uint16_t port,
        const std::string& path,
        std::function<void(const probe_answer&)> then
    )
        : socket_(context), timer_(context), there_(asio::ip::address_v4::loopback(), port),
          request_(
              "GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(port) +
              "\r\nConnection: close\r\n\r\n"
          ),
          then_(std::move(then))
    {
    }

    void start(std::chrono::milliseconds time)
    {
        timer_.expires_after(time);
        timer_.async_wait([self = shared_from_this()](error_code fault) {
            if (!fault) {
                self->end({.is = probe_answer::what::silent});
            }
        });
        if (error_code fault = bind(); fault) {
            asio::post(socket_.get_executor(), [self = shared_from_this()] {
                self->end({.is = probe_answer::what::broken});
            });
            return;
        }
        socket_.async_connect(there_, [self = shared_from_this()](error_code fault) {
            self->on_connect(fault);
        });
    }

    void cancel() override
    {
        then_ = nullptr;
        end({});
    }

private:
    // While nobody listens on a port, a connection to it can be given that very port as its own and so meet
    // itself: it would look open, and keep the worker from binding. So the local port is chosen before, and
    // looked at.
    error_code bind()
    {
        error_code fault;
        for (int tries = 0; tries < 4; ++tries) {
            socket_.close(fault);
            socket_.open(tcp::v4(), fault);
            if (fault) {
                return fault;
            }
            socket_.bind({asio::ip::address_v4::loopback(), 0}, fault);
            if (fault || socket_.local_endpoint(fault).port() != there_.port()) {
                return fault;
            }
        }
        return asio::error::address_in_use;
    }

    void on_connect(error_code fault)
    {
        if (fault) {
            const bool refused = fault == asio::error::connection_refused;
            end({.is = refused ? probe_answer::what::refused : probe_answer::what::broken});
            return;
        }
        asio::async_write(
            socket_,
            asio::buffer(request_),
            [self = shared_from_this()](error_code failed, std::size_t) {
                if (failed) {
                    self->end({.is = probe_answer::what::broken});
                    return;
                }
                self->read();
            }
        );
    }

    void read()
    {
        auto into = asio::dynamic_buffer(answer_, longest_status_line);
        asio::async_read_until(
            socket_,
            into,
            '\n',
            [self = shared_from_this()](error_code fault, std::size_t size) {
                const int status =
                    fault ? 0 : status_of_line(std::string_view(self->answer_).substr(0, size - 1));
                self->end(
                    {.is = status == 0 ? probe_answer::what::broken : probe_answer::what::status,
                     .status = status}
                );
            }
        );
    }

    void end(const probe_answer& answer)
    {
        error_code ignored;
        timer_.cancel();
        socket_.close(ignored);
        if (auto then = std::exchange(then_, nullptr)) {
            then(answer);
        }
    }

    tcp::socket socket_;
    asio::steady_timer timer_;
    const tcp::endpoint there_;
    const std::string request_;
    std::string answer_;
    std::function<void(const probe_answer&)> then_;
};

} // namespace

std::string describe(const probe_answer& answer)
{
    switch (answer.is) {
    case probe_answer::what::status:
        return "answered " + std::to_string(answer.status);
    case probe_answer::what::refused:
        return "refused the connection";
    case probe_answer::what::silent:
        return "did not answer";
    case probe_answer::what::broken:
        return "answered something that is not HTTP";
    }
    return "did not answer";
}

int status_of_line(std::string_view line)
{
    if (line.ends_with('\r')) {
        line.remove_suffix(1);
    }
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    if (line.size() < 12 || !line.starts_with("HTTP/1.") || !is_digit(line[7]) || line[8] != ' ' ||
        !std::ranges::all_of(line.substr(9, 3), is_digit) || (line.size() > 12 && line[12] != ' ')) {
        return 0;
    }
    return (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
}

std::shared_ptr<probe> probe::start(
    asio::io_context& context,
    std::uint16_t port,
    const std::string& path,
    std::chrono::milliseconds time,
    std::function<void(const probe_answer&)> then
)
{
    auto made = std::make_shared<one_probe>(context, port, path, std::move(then));
    made->start(time);
    return made;
}

} // namespace gw::workers
