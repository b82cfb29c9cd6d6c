// An adapter whose conversation is one request and one answer: what is left to say is how the request looks.
#pragma once

#include "adapters/adapter.hpp"
#include "adapters/encode.hpp"
#include "adapters/exchange.hpp"

namespace gw::adapters {

// A request ready to be sent, and what its answer will be.
struct prepared
{
    encoding as = encoding::pass_through;
    exchange_request what;
    answer_plan answer;
};

class one_shot : public adapter
{
public:
    result<encoding> plan(const request& asked, const target& to) const final
    {
        auto ready = prepare(asked, to);
        if (!ready) {
            return fail(ready);
        }
        return ready->as;
    }

    result<std::unique_ptr<conversation>> open(const request& asked, const target& to) const final
    {
        auto ready = prepare(asked, to);
        if (!ready) {
            return fail(ready);
        }
        return make_exchange(std::move(ready->what), std::move(ready->answer), to);
    }

    // Ranges of a raw body, each byte once, in order: a plan that can follow the upload.
    bool can_stream(const request& asked, const target& to) const final
    {
        if (!asked.raw) {
            return false;
        }
        const auto ready = prepare(asked, to);
        if (!ready) {
            return false;
        }
        std::uint64_t at = 0;
        for (const piece& each : ready->what.body.pieces) {
            if (each.what == piece::how::literal) {
                continue;
            }
            if (each.from.begin < at) {
                return false;
            }
            at = std::max(at, each.from.end);
        }
        return true;
    }

protected:
    [[nodiscard]] virtual result<prepared> prepare(const request& asked, const target& to) const = 0;
};

// A chat on an OpenAI route: the same for the router and for every engine.
[[nodiscard]] result<prepared> prepare_chat(
    const request& asked, const target& to, std::string_view model, schema_form form = schema_form::openai
);

} // namespace gw::adapters
