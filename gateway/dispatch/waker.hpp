// The warm bridge's hands: does what dispatch/waking.hpp decides, on a thread of its own with a loop and a
// pool. While a dedicated endpoint starts, it asks the health route with X-Scale-Up-Timeout and the
// endpoint's token; requests meanwhile go to the next candidate or wait. An endpoint that is ready is never
// asked, so nothing keeps it from being scaled to zero again. One per process.
#pragma once

#include "dispatch/core.hpp"
#include "message/outcome.hpp"

#include <memory>
#include <string>

namespace gw::dispatch {

class waker
{
public:
    // REQUIRES `known` and `names` outlive this, and the loops of those who wait in `known`.
    waker(standing& known, net::resolver& names, std::string version);
    ~waker(); // stop()
    waker(const waker&) = delete;
    waker& operator=(const waker&) = delete;

    // The policy from now on: endpoints that it still names go on being woken, by what it says now; others
    // are left alone. Any one thread.
    void use(std::shared_ptr<const snapshot> now);

    // A request's attempt at `to` came to `what`. If that means that a dedicated endpoint sleeps, it is woken
    // from now on (the thread starts with the first); if it was given up, `what` becomes `unavailable` and
    // says so. Any thread; to be called before the attempt's outcome is learned.
    void meets(const config::upstream& to, verdict& what);

    // Nothing is woken any more: ends waking requests at once, and the thread.
    void stop();

private:
    struct parts;
    std::unique_ptr<parts> parts_;
};

} // namespace gw::dispatch
