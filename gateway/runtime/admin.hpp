// The admin listener: GET /live, /ready, /metrics, /workers and POST /reload, on an address of its own,
// loopback by default. Runs on the control thread. What the answers say comes from callbacks.
#pragma once

#include "config/settings.hpp"
#include "net/asio.hpp"
#include "net/descriptor.hpp"
#include "runtime/descriptors.hpp"

#include <functional>
#include <memory>
#include <string>

namespace gw::runtime {

struct admin_answers
{
    std::function<bool()> ready;
    std::function<std::string()> metrics;                 // Prometheus text
    std::function<std::string()> workers;                 // JSON
    std::function<std::pair<bool, std::string>()> reload; // JSON: what was loaded, or every problem
    std::function<std::shared_ptr<const config::settings>()> now;
};

// Serves until the acceptor is closed. REQUIRES the answers outlive the io_context's run.
class admin
{
public:
    admin(net::tcp_acceptor acceptor, admin_answers answers);
    ~admin();
    admin(const admin&) = delete;
    admin& operator=(const admin&) = delete;

    void start();
    void stop();

private:
    class connection;
    void accept();
    void welcome(net::descriptor its);

    net::tcp_acceptor acceptor_;
    net::timer retry_;
    // So that it answers when clients and upstreams have taken all others. Of its connections, too.
    std::shared_ptr<spare_descriptors> spare_ = std::make_shared<spare_descriptors>();
    admin_answers answers_;
};

} // namespace gw::runtime
