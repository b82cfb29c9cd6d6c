// One client connection: requests in order, one at a time, until either side wants to end it. Spawned by the
// listener.
#pragma once

#include "dispatch/core.hpp"
#include "message/failure.hpp"
#include "net/descriptor.hpp"
#include "net/task.hpp"

#include <boost/asio/ssl/context.hpp>
#include <boost/intrusive/list.hpp>

#include <memory>

namespace gw::ingress {

// What the listener needs to end sessions: those that idle are closed in a moment, the others after their
// request.
class session
    : public boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>>
{
public:
    session(dispatch::core& here, net::descriptor socket, std::shared_ptr<boost::asio::ssl::context> tls);
    ~session();
    session(const session&) = delete;
    session& operator=(const session&) = delete;

    [[nodiscard]] net::task<void> run();
    // In place of run(): there are too many connections. Says why at once, whatever the client wants, and
    // ends.
    [[nodiscard]] net::task<void> turn_away(failure why);

    void
    end_when_idle(); // the gateway drains: the next answer is the last one, if another request comes at all
    void abort();    // the drain limit is over: a request in progress ends now, a stream with an error event

private:
    class parts;
    std::unique_ptr<parts> parts_;
};

using session_list = boost::intrusive::list<session, boost::intrusive::constant_time_size<false>>;

} // namespace gw::ingress
