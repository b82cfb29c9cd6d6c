#include "runtime/admin.hpp"

#include "auth/authenticate.hpp"
#include "config/values.hpp"
#include "net/stream.hpp"

#include <boost/asio/ip/address.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

#include <cerrno>
#include <optional>
#include <sys/socket.h>

namespace gw::runtime {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;

constexpr auto limit = std::chrono::seconds(10);
constexpr std::size_t most_bytes = 64 * 1024;

// The names an admin listener answers to: a web page with another name in its Host is refused (DNS
// rebinding).
bool known_host(std::string_view host, const config::settings& now)
{
    if (host.contains('@')) {
        return false; // a user name, which no Host has
    }
    const std::size_t colon = host.rfind(':');
    std::string_view name = host;
    if (colon != std::string_view::npos && host.find(']', colon) == std::string_view::npos) {
        name = host.substr(0, colon);
    }
    if (name.starts_with('[') && name.ends_with(']')) {
        name = name.substr(1, name.size() - 2);
    }
    return config::is_loopback(name) || name == now.admin.host;
}

} // namespace

class admin::connection : public std::enable_shared_from_this<admin::connection>
{
public:
    using stream = beast::basic_stream<net::tcp, net::executor>;

    connection(net::tcp_socket socket, const admin_answers& answers, std::shared_ptr<spare_descriptors> spare)
        : wire_(std::move(socket)), answers_(answers), spare_(std::move(spare))
    {
    }
    ~connection()
    {
        if (auto& socket = wire_.socket(); socket.is_open()) {
            net::error_code failed;
            const int its = socket.release(failed);
            if (!failed) {
                spare_->keep(its);
            }
        }
    }
    connection(const connection&) = delete;
    connection& operator=(const connection&) = delete;

    void read()
    {
        parser_.emplace();
        parser_->header_limit(8 * 1024);
        parser_->body_limit(most_bytes);
        wire_.expires_after(limit);
        http::async_read(
            wire_,
            buffer_,
            *parser_,
            [me = shared_from_this()](net::error_code ec, std::size_t) {
                if (ec) {
                    return; // gone, too slow, or no HTTP: nothing to tell on this listener
                }
                me->answer(me->parser_->release());
            }
        );
    }

private:
    using request = http::request<http::string_body>;
    using response = http::response<http::string_body>;

    void answer(const request& asked)
    {
        response made = decide(asked);
        made.version(asked.version());
        made.keep_alive(asked.keep_alive());
        if (asked.method() == http::verb::head) {
            made.body().clear();
        }
        made.prepare_payload();
        reply_ = std::move(made);
        wire_.expires_after(limit);
        http::async_write(wire_, *reply_, [me = shared_from_this()](net::error_code ec, std::size_t) {
            if (!ec && me->reply_->keep_alive()) {
                me->read();
            } else {
                net::error_code ignored;
                me->wire_.socket().shutdown(net::tcp_socket::shutdown_send, ignored);
            }
        });
    }

    static response text(http::status status, std::string body, std::string_view type)
    {
        response made(status, 11);
        made.set(http::field::content_type, type);
        made.body() = std::move(body);
        return made;
    }
    static response error(http::status status, std::string_view code, std::string_view message)
    {
        std::string body = R"({"error":{"code":")";
        body.append(code).append(R"(","message":")").append(message).append("\"}}\n");
        return text(status, std::move(body), "application/json");
    }

    response decide(const request& asked) const
    {
        const auto now = answers_.now();
        const std::string_view path = asked.target().substr(0, asked.target().find('?'));
        // An admin listener for other machines has a key, and goes by names that we do not know.
        const bool local = now->admin_key_digest.empty() || config::is_loopback(now->admin.host);
        const bool once = asked.count(http::field::host) == 1; // two: whoever reads the other is fooled
        if (local && !(once && known_host(asked[http::field::host], *now))) {
            return error(http::status::forbidden, "forbidden", "this Host is not one of the admin listener");
        }
        const bool get = asked.method() == http::verb::get || asked.method() == http::verb::head;
        if (path == "/live" && get) {
            return text(http::status::ok, "live\n", "text/plain");
        }
        if (path == "/ready" && get) {
            const bool ready = answers_.ready();
            return text(
                ready ? http::status::ok : http::status::service_unavailable,
                ready ? "ready\n" : "draining\n",
                "text/plain"
            );
        }
        if (!auth::admin_allowed(asked[http::field::authorization], asked["x-api-key"], *now)) {
            return error(
                http::status::unauthorized,
                "unauthenticated",
                "send the admin key as Authorization: Bearer KEY"
            );
        }
        if (path == "/metrics" && get) {
            return text(http::status::ok, answers_.metrics(), "text/plain; version=0.0.4");
        }
        if (path == "/workers" && get) {
            return text(http::status::ok, answers_.workers(), "application/json");
        }
        if (path == "/reload") {
            if (asked.method() != http::verb::post) {
                response made =
                    error(http::status::method_not_allowed, "method_not_allowed", "reload is a POST");
                made.set(http::field::allow, "POST");
                return made;
            }
            if (!asked[http::field::origin].empty()) {
                return error(http::status::forbidden, "forbidden", "a web page may not reload");
            }
            auto [good, body] = answers_.reload();
            return text(
                good ? http::status::ok : http::status::unprocessable_entity,
                std::move(body),
                "application/json"
            );
        }
        return error(
            http::status::not_found,
            "no_such_door",
            "the admin listener has /live, /ready, /metrics, /workers and POST /reload"
        );
    }

    stream wire_;
    const admin_answers& answers_;
    std::shared_ptr<spare_descriptors> spare_;
    beast::flat_buffer buffer_;
    std::optional<http::request_parser<http::string_body>> parser_;
    std::optional<response> reply_;
};

admin::admin(net::tcp_acceptor acceptor, admin_answers answers)
    : acceptor_(std::move(acceptor)), retry_(acceptor_.get_executor()), answers_(std::move(answers))
{
}

admin::~admin() = default;

void admin::start()
{
    net::error_code ignored;
    acceptor_.non_blocking(true, ignored);
    accept();
}

void admin::stop()
{
    net::error_code ignored;
    acceptor_.close(ignored);
    retry_.cancel();
}

void admin::welcome(net::descriptor its)
{
    net::error_code failed;
    net::tcp_socket socket(acceptor_.get_executor());
    const auto at = acceptor_.local_endpoint(failed);
    socket.assign(at.protocol(), its.get(), failed);
    if (failed) {
        return;
    }
    (void)its.release();
    std::make_shared<connection>(std::move(socket), answers_, spare_)->read();
}

// It waits for somebody to knock before it takes a descriptor for them: accept() needs one even to find out
// that nobody is there, and what is spent on that would go to a core.
void admin::accept()
{
    acceptor_.async_wait(net::tcp_acceptor::wait_read, [this](net::error_code ec) {
        if (ec || !acceptor_.is_open()) {
            return;
        }
        const auto take = [this] {
            return ::accept4(acceptor_.native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        };
        net::descriptor one(take());
        if (!one.is_open() && net::no_descriptors({errno, boost::system::system_category()}) &&
            spare_->spend()) {
            one = net::descriptor(take());
        }
        const int why = one.is_open() ? 0 : errno;
        if (one.is_open()) {
            welcome(std::move(one));
        }
        spare_->fill();
        if (why == 0 || why == EAGAIN) {
            accept();
            return;
        }
        retry_.expires_after(std::chrono::milliseconds(100)); // no descriptors: a pause, not a spin
        retry_.async_wait([this](net::error_code stopped) {
            if (!stopped) {
                spare_->fill();
                accept();
            }
        });
    });
}

} // namespace gw::runtime
