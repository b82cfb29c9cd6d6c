// Look-ups of models at the Hub, shared by all cores: on a thread of their own, remembered (hub/memory.hpp),
// one at a time for a model however many ask. Thread-safe.
#pragma once

#include "config/settings.hpp"
#include "message/ways.hpp"
#include "net/interrupt.hpp"
#include "net/loop.hpp"
#include "net/resolver.hpp"
#include "net/task.hpp"

#include <cstdint>
#include <memory>
#include <string>

namespace gw::upstream {

class lookup
{
public:
    lookup(net::resolver& names, std::string version);
    // Ends look-ups in progress. REQUIRES nobody waits in ask() any more.
    ~lookup();
    lookup(const lookup&) = delete;
    lookup& operator=(const lookup&) = delete;

    // Where to ask from now on; another place or token forgets what the old one said. The thread starts with
    // the first hub that is on.
    //   errors   internal: the system's certificates cannot be used
    [[nodiscard]] result<void> use(const config::hub& hub);

    // What the Hub says of a model: at once when it is known, else after one look-up, for which a request
    // waits at most 5 s. Never null; whatever goes wrong is an answer `away`.
    //   requires  the grammar of Hub ids was checked; called on the thread of `on`, which outlives this
    [[nodiscard]] net::task<std::shared_ptr<const hub_answer>>
    ask(net::loop& on, std::string model, net::interrupt& stop);

    struct counts
    {
        std::uint64_t asked = 0;  // look-ups sent
        std::uint64_t served = 0; // questions answered from memory
        std::uint64_t waited = 0; // questions that waited for a look-up
        std::uint64_t away = 0;   // questions that caused none, since the Hub is away
        std::size_t known = 0;    // models
    };
    [[nodiscard]] counts now() const;

private:
    struct parts;
    std::shared_ptr<parts> parts_;
};

} // namespace gw::upstream
