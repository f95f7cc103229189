"""torch.nn.functional.scaled_dot_product_attention as a contestant: one backend of it, or the one that PyTorch picks."""
import warnings

from contestant import TorchContestant, Unfit


class Sdpa(TorchContestant):
    """backend: a name of torch.nn.attention.SDPBackend, which is then the only one allowed; None: PyTorch's own choice."""

    def __init__(self, backend=None):
        super().__init__()
        self.backend = backend

    def title(self, torch):
        version = torch.backends.cudnn.version()
        cudnn = f'{version // 10000}.{version // 100 % 100}.{version % 100}' if version else 'none'
        return f'PyTorch {torch.__version__} SDPA, {self.backend or "backend of its choice"}, cuDNN {cudnn}'

    def open(self, problem):
        super().open(problem)
        import torch
        self.arguments = self._arguments(torch)
        q, k, v = (torch.randn(problem.shape(name), dtype=self.dtype, device=self.device) for name in 'qkv')
        # The backends say in warnings why they refuse, then raise.
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter('always')
            try:
                self.attend(q, k, v)
                self.wait()
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as e:
                reasons = [str(w.message).split(' (Triggered internally')[0] for w in said] or [str(e)]
                raise Unfit(' '.join(dict.fromkeys(reasons))) from e
        return ''

    def _arguments(self, torch):
        """Keywords that stay the same for every launch."""
        p = self.problem
        arguments = {'scale': p.scale, 'enable_gqa': p.kv_heads != p.heads}
        if not p.causal:
            return arguments
        if p.seq_q == p.seq_kv:
            return arguments | {'is_causal': True}
        if p.seq_q > p.seq_kv:
            raise Unfit('SDPA gives NaN to rows that see no key (seq_q > seq_kv with the causal mask)')
        # is_causal would align to the top left.
        if self.backend == 'CUDNN_ATTENTION':  # which PyTorch gives no other way to align to the bottom right
            hidden = torch.ones(p.seq_q, p.seq_kv, dtype=torch.bool, device=self.device).triu(p.seq_kv - p.seq_q + 1)
            mask = torch.zeros(p.seq_q, p.seq_kv, dtype=self.dtype, device=self.device).masked_fill_(hidden, float('-inf'))
            return arguments | {'attn_mask': mask.expand(p.batch, p.heads, -1, -1)}
        from torch.nn.attention.bias import causal_lower_right
        return arguments | {'attn_mask': causal_lower_right(p.seq_q, p.seq_kv)}

    def tune(self):
        if self.backend:
            return self.backend
        import torch
        from torch.nn.attention import SDPBackend
        q, k, v = (self.tensors[name][0] for name in 'qkv')
        if 'attn_mask' in self.arguments:  # a bias of PyTorch's, which picks by itself
            return ''
        return SDPBackend(torch._fused_sdp_choice(q, k, v, **self.arguments)).name

    def attend(self, q, k, v):
        from torch.nn.attention import SDPBackend, sdpa_kernel
        from torch.nn.functional import scaled_dot_product_attention
        if self.backend is None:
            return scaled_dot_product_attention(q, k, v, **self.arguments)
        with sdpa_kernel(getattr(SDPBackend, self.backend)):
            return scaled_dot_product_attention(q, k, v, **self.arguments)
