// One reason to stop a request: its client went away, its deadline is over, the gateway stops. The first
// reason wins. Every wait of the request registers how it is ended; fire() calls those hooks.
// Single-threaded, one per request.
#pragma once

#include "message/failure.hpp"

#include <boost/intrusive/list.hpp>

#include <optional>
#include <utility>

namespace gw::net {

class interrupt
{
public:
    class hook
        : public boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>>
    {
    public:
        virtual void stop() = 0; // must not resume a coroutine inline

    protected:
        ~hook() = default;
    };

    void fire(code why)
    {
        if (why_) {
            return;
        }
        why_ = why;
        while (!hooks_.empty()) {
            hook& each = hooks_.front();
            each.unlink();
            each.stop();
        }
    }
    [[nodiscard]] bool fired() const { return why_.has_value(); }
    [[nodiscard]] code why() const { return *why_; }

    // Registers `call` for as long as it lives; calls it at once if the interrupt has fired already.
    template <class F>
    class scope final : public hook
    {
    public:
        scope(interrupt& on, F call) : call_(std::move(call))
        {
            if (on.fired()) {
                call_();
            } else {
                on.hooks_.push_back(*this);
            }
        }
        scope(const scope&) = delete;
        scope& operator=(const scope&) = delete;
        void stop() override { call_(); }

    private:
        F call_;
    };

private:
    std::optional<code> why_;
    boost::intrusive::list<hook, boost::intrusive::constant_time_size<false>> hooks_;
};

} // namespace gw::net
