// Deadlines without a timer per operation: every object that may run out of time has an entry in its core's
// list, and one tick each 100 ms walks the list. Arming is one store. Single-threaded: a list belongs to one
// core. (A timer armed and cancelled per socket operation costs 3 to 15 % of a small request.)
#pragma once

#include "net/asio.hpp"

#include <boost/intrusive/list.hpp>

namespace gw::net {

class deadline_list;

class deadline
    : public boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>>
{
public:
    // `expire(owner)` is called from the tick, once, when the armed time is over; it must not resume a
    // coroutine inline.
    deadline(deadline_list& list, void* owner, void (*expire)(void* owner));
    deadline(const deadline&) = delete;
    deadline& operator=(const deadline&) = delete;

    void arm(time_point when) { when_ = when; }
    void disarm() { when_ = never; }
    [[nodiscard]] time_point when() const { return when_; }

private:
    friend class deadline_list;
    time_point when_ = never;
    void* owner_;
    void (*expire_)(void*);
};

class deadline_list
{
public:
    // Calls what is due. Entries may be armed, but not destroyed, by what is called.
    void tick(time_point now)
    {
        for (auto& each : entries_) {
            if (each.when_ <= now) {
                each.when_ = never;
                each.expire_(each.owner_);
            }
        }
    }
    [[nodiscard]] bool empty() const { return entries_.empty(); }

private:
    friend class deadline;
    boost::intrusive::list<deadline, boost::intrusive::constant_time_size<false>> entries_;
};

inline deadline::deadline(deadline_list& list, void* owner, void (*expire)(void* owner))
    : owner_(owner), expire_(expire)
{
    list.entries_.push_back(*this);
}

} // namespace gw::net
