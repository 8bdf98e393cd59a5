import { expect, test } from 'vitest';
import { detectProduct } from '../../../src/vault/product.ts';
import { BAO_HEALTH, BAO_SEAL_STATUS, VAULT_HEALTH, VAULT_SEAL_STATUS } from './answers.ts';

test('the seal status alone tells both apart, sealed or not', () => {
  expect(detectProduct(VAULT_SEAL_STATUS, null)).toBe('vault');
  expect(detectProduct(BAO_SEAL_STATUS, null)).toBe('openbao');
});

test('the health alone names Vault, and nothing else', () => {
  expect(detectProduct(null, VAULT_HEALTH)).toBe('vault');
  expect(detectProduct(null, BAO_HEALTH)).toBe('unknown');
});

test('the version does not count: both products are at 2.x', () => {
  expect(detectProduct({ ...VAULT_SEAL_STATUS, version: '2.0.4' }, VAULT_HEALTH)).toBe('vault');
  expect(detectProduct({ ...BAO_SEAL_STATUS, version: '1.21.4' }, BAO_HEALTH)).toBe('openbao');
});

test('versions older than these keys are told apart by sys/seal-backend-status', () => {
  const old = { type: 'shamir', initialized: true, sealed: false, t: 1, n: 1, build_date: '2024-01-01T00:00:00Z' };
  expect(detectProduct(old, BAO_HEALTH)).toBe('unknown');
  expect(detectProduct(old, BAO_HEALTH, 200)).toBe('vault');
  expect(detectProduct(old, BAO_HEALTH, 403)).toBe('openbao');
  expect(detectProduct(old, BAO_HEALTH, 404)).toBe('openbao');
  expect(detectProduct(old, BAO_HEALTH, 503)).toBe('unknown');
});
