// Which upstream is spoken to by which adapter: one line per kind and engine.
#include "adapters/engines.hpp"
#include "adapters/one_shot.hpp"

#include <array>

namespace gw::adapters {
namespace {

using config::engine;
using config::kind;

// A kind or engine that the policy may name and this build does not speak.
class absent_adapter final : public one_shot
{
protected:
    result<prepared> prepare(const request&, const target& to) const override
    {
        return refuse(
            code::unsupported,
            "Upstream " + to.to->name +
                " cannot be asked: this version speaks the kinds serverless, dedicated and local."
        );
    }
};

struct row
{
    config::kind kind;
    config::engine engine;
    const adapter& (*get)();
};

constexpr std::array rows{
    row{kind::dedicated, engine::toolkit, dedicated::toolkit},
    row{kind::dedicated, engine::custom, dedicated::custom},
    row{kind::dedicated, engine::tgi, dedicated::tgi},
    row{kind::dedicated, engine::tei, dedicated::tei},
    row{kind::dedicated, engine::openai, dedicated::openai},
    row{kind::local, engine::toolkit, dedicated::toolkit},
    row{kind::local, engine::custom, dedicated::custom},
    row{kind::local, engine::tgi, dedicated::tgi},
    row{kind::local, engine::tei, dedicated::tei},
    row{kind::local, engine::openai, dedicated::openai},
};

} // namespace

const adapter& adapter_for(const config::upstream& to)
{
    if (to.kind == kind::serverless) { // its engine says nothing
        return serverless::router();
    }
    for (const row& each : rows) {
        if (each.kind == to.kind && each.engine == to.engine) {
            return each.get();
        }
    }
    static const absent_adapter absent;
    return absent;
}

} // namespace gw::adapters
